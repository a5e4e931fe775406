"""Folders of a person's library. Whoever changes where one lies locks them all, so that no two make a ring."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from apps.library.errors import FolderMisplaced, FolderNameTaken
from apps.library.models import Folder
from apps.runtime.errors import NotFound

#: How deep folders may lie in folders.
MOST_LEVELS = 10


def lock_folder(*, user_id: UUID, folder_id: UUID) -> Folder:
    """Return a folder that nobody deletes until the transaction is over.

    Raises:
        NotFound: Alike for one that is unknown, deleted or somebody else's.
    """
    folder = Folder.objects.select_for_update().filter(user_id=user_id, pk=folder_id).first()
    if folder is None:
        raise NotFound
    return folder


def create_folder(*, user_id: UUID, name: str, parent_id: UUID | None = None) -> Folder:
    """Make a folder.

    Args:
        user_id: Whose it is.
        name: At most 100 characters, unlike those of its neighbours.
        parent_id: The folder that it lies in; None for the top.

    Raises:
        FolderMisplaced: When it would lie too deep.
        FolderNameTaken: When a neighbour has that name.
        NotFound: When the person has no such parent.
    """
    with transaction.atomic():
        _check_place(_locked(user_id), None, parent_id)
        return _named(lambda: Folder.objects.create(user_id=user_id, name=name, parent_id=parent_id))


def change_folder(*, user_id: UUID, folder_id: UUID, **changes: Any) -> Folder:
    """Give a folder another name, or put it elsewhere.

    Args:
        user_id: Whose it is.
        folder_id: The folder.
        changes: `name`, and `parent_id`, which is None for the top.

    Raises:
        FolderMisplaced: When it would lie within itself, or too deep.
        FolderNameTaken: When a neighbour has that name.
        NotFound: When the person has no such folder or parent.
    """
    with transaction.atomic():
        tree = _locked(user_id)
        if folder_id not in tree:
            raise NotFound
        if "parent_id" in changes:
            _check_place(tree, folder_id, changes["parent_id"])
        if changes:
            _named(lambda: Folder.objects.filter(pk=folder_id).update(**changes))
        return Folder.objects.get(pk=folder_id)


def delete_folder(*, user_id: UUID, folder_id: UUID) -> None:
    """Delete a folder with those in it; their agents stay in the library, in no folder.

    Raises:
        NotFound: When the person has no such folder.
    """
    with transaction.atomic():
        if folder_id not in _locked(user_id):
            raise NotFound
        Folder.objects.get(pk=folder_id).delete()


Tree = dict[UUID, UUID | None]


def _locked(user_id: UUID) -> Tree:
    """Return the parent of each of a person's folders; nobody else changes them until the transaction is over."""
    mine = Folder.objects.filter(user_id=user_id).order_by("pk").select_for_update()
    return dict(mine.values_list("pk", "parent_id"))


def _check_place(tree: Tree, folder_id: UUID | None, parent_id: UUID | None) -> None:
    if parent_id is None:
        return
    if parent_id not in tree:
        raise NotFound
    above = _above(tree, parent_id)
    if folder_id in above:
        raise FolderMisplaced
    if len(above) + _height(tree, folder_id) > MOST_LEVELS:
        raise FolderMisplaced(f"Folders may lie in {MOST_LEVELS - 1} others at most.")


def _above(tree: Tree, folder_id: UUID) -> list[UUID]:
    """Return a folder and those that it lies in."""
    found: list[UUID] = []
    at: UUID | None = folder_id
    while at is not None:
        found.append(at)
        at = tree[at]
    return found


def _height(tree: Tree, folder_id: UUID | None) -> int:
    """Return how many levels a folder and what is in it take."""
    if folder_id is None:
        return 1
    lines = (_above(tree, each) for each in tree)
    return max(line.index(folder_id) + 1 for line in lines if folder_id in line)


def _named(write: Any) -> Any:
    try:
        with transaction.atomic():
            return write()
    except IntegrityError as error:
        raise FolderNameTaken from error
