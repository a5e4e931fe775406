"""Files that came with messages: images for models that see them, and a listing of all of them.

What is read from storage is read here, before; the functions that make messages are given it and stay pure.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from apps.chat.models import Message
from apps.runtime.db import db_until_done
from apps.workspace import queries as workspace
from apps.workspace import services as files
from apps.workspace.errors import BlobGone
from apps.workspace.kinds import IMAGES, image_kind

logger = structlog.get_logger(__name__)

#: Bytes of all images of one request, before they are encoded.
MOST_IMAGE_BYTES = 20 * 1024 * 1024
#: Anthropic takes 5 MiB of base64 an image.
LARGEST_FOR_ANTHROPIC = 5 * 1024 * 1024 * 3 // 4
MOST_IMAGES = 100  # of one request, at Anthropic


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file of a message, as models are told of it.

    Attributes:
        data: The image in base64 where the model is to see it; else empty.
    """

    id: str
    name: str
    mime_type: str
    size_bytes: int
    is_deleted: bool = False
    data: str = ""

    @property
    def line(self) -> str:
        """What a listing says of it."""
        kilobytes = f"{max(0.1, self.size_bytes / 1024):.1f}"
        state = ", shown to you" if self.data else ", deleted since" if self.is_deleted else ""
        return f"- {self.name} ({self.mime_type}, {kilobytes} KB, id {self.id}{state})"


Attachments = Mapping[str, Attachment]


def attach(rows: Sequence[Message], attachments: Attachments) -> Sequence[Message]:
    """Give user rows their files; ids that nobody knows are left out."""
    for row in rows:
        row.attachments = [attachments[name] for name in row.file_ids or () if name in attachments]
    return rows


def images_to_show(rows: Iterable[Message], attachments: Attachments, *, largest_bytes: int) -> set[str]:
    """Return the ids of the images that a model is shown.

    The newest messages come first and older ones only as long as all of theirs fit: so what is shown of a message
    stays the same, byte for byte, until newer images need the room.

    Args:
        rows: What the model is given, oldest first.
        attachments: What is known of their files.
        largest_bytes: Larger images are only listed.
    """
    shown: set[str] = set()
    room = MOST_IMAGE_BYTES
    for row in sorted(rows, key=lambda row: row.sequence, reverse=True):
        mine: dict[str, int] = {}
        for name in row.file_ids or ():
            file = attachments.get(name)
            if file is None or file.is_deleted or file.mime_type not in IMAGES or name in shown:
                continue
            if file.size_bytes <= min(largest_bytes, MOST_IMAGE_BYTES - sum(mine.values())):
                mine[name] = file.size_bytes
        room -= sum(mine.values())
        if room < 0 or len(shown) + len(mine) > MOST_IMAGES:
            break
        shown |= mine.keys()
    return shown


async def load(
    user_id: UUID, rows: Sequence[Message], known: Attachments, *, vision: bool, largest_bytes: int = MOST_IMAGE_BYTES
) -> dict[str, Attachment]:
    """Return the files of a conversation, with the images that the model is to see.

    Args:
        user_id: Whose they must be.
        rows: What models are given.
        known: What was loaded for the step before.
        vision: Whether the model sees images.
        largest_bytes: Larger images aren't shown.
    """
    wanted = {name for row in rows if row.role == Message.Role.USER for name in row.file_ids or ()}
    if not wanted:
        return {}
    found = {name: known[name] for name in wanted if name in known}
    unknown = [UUID(name) for name in wanted - found.keys()]
    stored = await db_until_done(workspace.files_by_ids, user_id, unknown, deleted_too=True) if unknown else {}
    for row in stored.values():
        found[str(row.pk)] = Attachment(
            id=str(row.pk),
            name=row.name,
            mime_type=row.mime_type,
            size_bytes=row.size_bytes,
            is_deleted=row.deleted_at is not None,
        )
    shown = images_to_show(rows, found, largest_bytes=largest_bytes) if vision else set()
    seen: dict[str, Attachment] = {}
    for name, file in found.items():
        if name not in shown:
            seen[name] = replace(file, data="")
        else:
            seen[name] = file if file.data else await _with_data(user_id, file)
    return seen


async def _with_data(user_id: UUID, attachment: Attachment) -> Attachment:
    """Return an image with what it holds; as it is where that can't be had, or isn't what its row says."""
    file = (await db_until_done(workspace.files_by_ids, user_id, [UUID(attachment.id)])).get(UUID(attachment.id))
    if file is None:
        return replace(attachment, is_deleted=True)
    try:
        content = await asyncio.to_thread(files.read_bytes, file, most=MOST_IMAGE_BYTES)
    except BlobGone:
        return attachment
    if image_kind(content) != attachment.mime_type:
        logger.warning("image_is_no_image", file_id=attachment.id)
        return attachment
    return replace(attachment, data=base64.b64encode(content).decode("ascii"))
