"""XML documents and feeds that people and servers sent."""

from __future__ import annotations

import calendar
import io
from typing import Any, TypedDict

MAX_ENTRIES = 1_000
MAX_TEXT_CHARS = 100_000


class Entry(TypedDict):
    """What a feed says of one thing; `published_at` is in seconds since 1970, or None."""

    id: str
    title: str
    link: str
    description: str
    published_at: int | None
    author: str
    categories: list[str]


def parse_xml(text: str) -> dict[str, Any]:
    """Return an XML document as nested dictionaries: attributes as `@name`, mixed text as `#text`.

    Raises:
        ValueError: It is malformed, or it declares entities.
    """
    from xml.parsers.expat import ExpatError  # only children need these
    from xml.sax import SAXException
    from xml.sax.handler import ContentHandler
    from xml.sax.xmlreader import InputSource

    import xmltodict  # type: ignore[import-untyped]
    from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
    from defusedxml.sax import make_parser  # type: ignore[import-untyped]

    source = InputSource()
    source.setCharacterStream(io.StringIO(text))
    watchful = make_parser()
    watchful.setContentHandler(ContentHandler())
    try:
        # First past a parser that refuses what attacks parsers: entities, references to elsewhere.
        watchful.parse(source)
        return dict(xmltodict.parse(text, disable_entities=True))
    except DefusedXmlException:
        raise ValueError("XML with entities of its own, or that refers to elsewhere, isn't read.") from None
    except (ExpatError, SAXException) as error:
        raise ValueError(f"This isn't well-formed XML: {error}.") from None


def parse_feed(content: bytes, content_type: str) -> list[Entry]:
    """Return the entries of an RSS or Atom feed, in its order.

    Raises:
        ValueError: It is none.
    """
    import feedparser  # type: ignore[import-untyped]  # only children need it

    # A file object: a text would be taken for an address or a path.
    feed = feedparser.parse(io.BytesIO(content), response_headers={"content-type": content_type})
    if not feed.version and not feed.entries:
        raise ValueError("This isn't an RSS or Atom feed.")
    return [_entry(entry) for entry in feed.entries[:MAX_ENTRIES]]


def _entry(entry: Any) -> Entry:
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    link = str(entry.get("link") or "")
    return Entry(
        id=str(entry.get("id") or link or entry.get("title") or "")[:MAX_TEXT_CHARS],
        title=str(entry.get("title") or "")[:MAX_TEXT_CHARS],
        link=link[:MAX_TEXT_CHARS],
        description=str(entry.get("summary") or entry.get("description") or "")[:MAX_TEXT_CHARS],
        published_at=calendar.timegm(moment) if moment else None,
        author=str(entry.get("author") or "")[:MAX_TEXT_CHARS],
        categories=[str(tag.get("term") or "") for tag in entry.get("tags") or []],
    )
