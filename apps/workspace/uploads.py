"""How a request's file gets into a spool: chunk by chunk, as Django's parser reads the form."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest

from apps.workspace.errors import BadUpload, FileTooLarge
from apps.workspace.spool import Spool

FIELD = "file"
#: What the rest of a form may take up beside its file, in bytes.
FORM_BYTES = 64 * 1024


class SpooledFile(UploadedFile):
    """An uploaded file that lies in a spool."""

    def __init__(self, spool: Spool, name: str | None, content_type: str | None) -> None:
        """Keep the spool; closing this closes it."""
        super().__init__(spool.file, name, content_type, spool.size_bytes)
        self.spool = spool


class SpoolingUploadHandler(FileUploadHandler):
    """Writes the one file of a form into a spool, and refuses as soon as it is too large."""

    file: Spool  # there once a file has begun

    def handle_raw_input(self, input_data: Any, META: Any, content_length: int, *args: Any, **kwargs: Any) -> None:  # noqa: N803 -- Django's name
        """Refuse a form that is too long to hold a file that may be stored.

        Raises:
            FileTooLarge: When it is.
        """
        if content_length > settings.WORKSPACE_FILE_LIMIT_BYTES + FORM_BYTES:
            raise FileTooLarge(limit_bytes=settings.WORKSPACE_FILE_LIMIT_BYTES)

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin with a file.

        Raises:
            BadUpload: When it isn't the only one, or not in its field.
        """
        super().new_file(*args, **kwargs)
        if hasattr(self, "file") or self.field_name != FIELD:
            self.upload_interrupted()
            raise BadUpload
        self.file = Spool()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes | None:
        """Write a piece of it.

        Raises:
            FileTooLarge: When it has become too large.
        """
        try:
            self.file.write(raw_data)
        except FileTooLarge:
            self.upload_interrupted()  # the parser closes whole files only
            raise
        return None

    def file_complete(self, file_size: int) -> SpooledFile | None:
        """Return the file."""
        return SpooledFile(self.file, self.file_name, self.content_type)

    def upload_interrupted(self) -> None:
        """Drop what came of it."""
        if hasattr(self, "file"):
            self.file.close()


def expect_upload(request: HttpRequest) -> None:
    """Have this request's form read by our handler alone; to be called before anything looks at it."""
    request.upload_handlers = [SpoolingUploadHandler(request)]


def uploaded(files: Any) -> SpooledFile:
    """Return the one file of a form.

    Raises:
        BadUpload: When there is none.
    """
    file = files.get(FIELD)
    if not isinstance(file, SpooledFile):
        raise BadUpload
    return file
