"""Files over REST: uploads, lists, metadata, deletes, usage."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from apps.accounts.models import User
from apps.chat.models import Session
from apps.workspace.models import File, Workspace
from tests.workspace.conftest import FILES, blobs_in, upload

USAGE = "/api/workspace/usage"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


def used(person):
    return Workspace.objects.filter(pk=person.user.pk).values_list("used_bytes", flat=True).first() or 0


def test_strangers_get_401(db):
    assert APIClient().get(FILES).status_code == 401
    assert APIClient().get(USAGE).status_code == 401
    assert APIClient().post(FILES, {"file": SimpleUploadedFile("a", b"x")}).status_code == 401
    assert APIClient().get(f"{FILES}/{uuid.uuid4()}/download").status_code == 401


def test_a_file_comes_is_seen_and_goes(owner, folder):
    answer = upload(owner, b"hello world", "grüße.txt")
    assert answer.status_code == 201, answer.content
    body = answer.json()
    row = File.objects.get()
    assert body == {
        "id": str(row.pk),
        "name": "grüße.txt",
        "path": "/grüße.txt",
        "mime_type": "text/plain",
        "size_bytes": 11,
        "sha256": hashlib.sha256(b"hello world").hexdigest(),
        "session_id": None,
        "origin": "upload",
        "uri": f"workspace://{row.pk}#text/plain",
        "created_at": body["created_at"],
    }
    assert blobs_in(folder) == [row.storage_name]
    assert (folder / row.storage_name).read_bytes() == b"hello world"
    assert used(owner) == 11

    assert owner.client.get(f"{FILES}/{row.pk}").json() == body
    assert owner.client.get(FILES).json() == {"files": [body], "total": 1}
    download = owner.client.get(f"{FILES}/{row.pk}/download")
    assert b"".join(download.streaming_content) == b"hello world"

    assert owner.client.delete(f"{FILES}/{row.pk}").status_code == 204
    assert used(owner) == 0
    assert owner.client.get(FILES).json() == {"files": [], "total": 0}
    row.refresh_from_db()
    assert row.deleted_at is not None


def test_deleting_takes_the_blob_and_gives_the_quota_back_once(owner, folder, django_capture_on_commit_callbacks):
    first = upload(owner, b"12345", "a.txt").json()["id"]
    upload(owner, b"1234567", "b.txt")
    with django_capture_on_commit_callbacks(execute=True):
        assert owner.client.delete(f"{FILES}/{first}").status_code == 204
    with django_capture_on_commit_callbacks(execute=True):
        assert owner.client.delete(f"{FILES}/{first}").status_code == 404
    assert used(owner) == 7
    assert len(blobs_in(folder)) == 1
    assert upload(owner, b"again", "a.txt").status_code == 201  # its path is free again


def test_everybody_has_files_of_their_own_only(owner, teammate, folder):
    file_id = upload(owner).json()["id"]
    unknown = uuid.uuid4()
    for path in ("", "/download"):
        foreign = teammate.client.get(f"{FILES}/{file_id}{path}")
        missing = teammate.client.get(f"{FILES}/{unknown}{path}")
        assert (foreign.status_code, foreign.content) == (404, missing.content)
    assert teammate.client.delete(f"{FILES}/{file_id}").status_code == 404
    assert teammate.client.get(FILES).json()["total"] == 0
    assert upload(teammate).status_code == 201  # the same path is free in another workspace
    assert len(blobs_in(folder)) == 2


def test_a_session_has_a_folder_and_a_list(owner, teammate):
    mine, other = (Session.objects.create(user=owner.user) for _ in range(2))
    foreign = Session.objects.create(user=teammate.user)
    inside = upload(owner, session_id=mine.pk).json()
    upload(owner, session_id=other.pk)
    upload(owner)

    assert inside["path"] == f"/sessions/{mine.pk}/hello.txt"
    assert inside["session_id"] == str(mine.pk)
    listed = owner.client.get(FILES, {"session_id": str(mine.pk)}).json()
    assert [row["id"] for row in listed["files"]] == [inside["id"]]
    assert listed["total"] == 1
    for session_id in (foreign.pk, uuid.uuid4()):
        assert upload(owner, name="x.txt", session_id=session_id).status_code == 404
        assert upload(owner, path=f"/sessions/{session_id}/x.txt").status_code == 404
    mine.delete()
    assert File.objects.get(pk=inside["id"]).session_id is None


def test_a_path_holds_one_live_file(owner, folder):
    assert upload(owner, b"first").status_code == 201
    again = upload(owner, b"second")
    assert (again.status_code, again.json()["code"], again.json()["path"]) == (409, "path_taken", "/hello.txt")
    assert len(blobs_in(folder)) == 1
    assert used(owner) == 5
    numbered = [upload(owner, b"x", rename="true").json() for _ in range(2)]
    assert [row["path"] for row in numbered] == ["/hello (2).txt", "/hello (3).txt"]
    assert numbered[0]["name"] == "hello (2).txt"


@pytest.mark.parametrize(
    "path",
    ["/../x", "a/../../b", "/a//b", "/a/./b", "/a/", "a%00b", "a%0Ab", "a%5C..%5Cb", "/sessions/x",
     "/sessions/nobody/x", "/" + "n" * 256, "/a" * 600],
)  # fmt: skip
def test_a_path_leads_nowhere_else(owner, folder, path):
    session = Session.objects.create(user=owner.user)
    for query in ({}, {"session_id": session.pk}):
        answer = upload(owner, path=path, **query)
        assert answer.status_code == 400, (path, answer.content)
    assert not File.objects.exists()
    assert blobs_in(folder) == []


def test_the_folder_of_all_sessions_is_no_file(owner):
    assert upload(owner, path="/sessions").status_code == 400


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\report.pdf", "report.pdf"),
        ("n" * 251 + ".txt", "n" * 251 + ".txt"),
        (".hidden", ".hidden"),
        ("a\u0301.txt", "\u00e1.txt"),
    ],
)
def test_an_upload_keeps_its_last_name_only(owner, sent, kept):
    answer = upload(owner, name="x")  # SimpleUploadedFile would cut the name itself
    boundary = "edge"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{sent}"\r\n'
        f"Content-Type: text/plain\r\n\r\nhello\r\n--{boundary}--\r\n"
    ).encode()
    answer = owner.client.generic("POST", FILES, body, content_type=f"multipart/form-data; boundary={boundary}")
    assert (answer.status_code, answer.json().get("name")) == (201, kept)


def test_a_name_of_more_than_255_bytes_is_refused(owner):
    assert upload(owner, name="ü" * 127 + "x").status_code == 201  # 255 bytes
    assert upload(owner, name="ü" * 128).status_code == 400


@pytest.mark.parametrize(
    ("name", "content", "declared", "kind"),
    [
        ("a.bin", PNG, "text/plain", "image/png"),  # bytes beat everything
        ("a.png", b"no image", "image/png", "application/octet-stream"),
        ("a.md", b"# hi", "", "text/markdown"),
        ("a.pdf", b"%PDF-1.7", "text/html", "application/pdf"),
        ("a.unheardof", b"?", "application/x-mine", "application/x-mine"),
        ("a.unheardof", b"?", "text/html\x0b<script>", "application/octet-stream"),
        ("a", b"", "", "application/octet-stream"),
    ],
)
def test_bytes_and_names_tell_what_a_file_is(owner, name, content, declared, kind):
    assert upload(owner, content, name, declared).json()["mime_type"] == kind


def test_a_form_holds_exactly_one_file(owner, folder):
    for form in (
        {},
        {"file": "text"},
        {"other": SimpleUploadedFile("a", b"x")},
        {"file": [SimpleUploadedFile("a", b"x"), SimpleUploadedFile("b", b"y")]},
    ):
        answer = owner.client.post(FILES, form)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_upload"), form
    assert owner.client.post(FILES, {"file": "x"}, format="json").status_code == 415
    assert blobs_in(folder) == []


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"offset": -1}, {"session_id": "x"}])
def test_a_query_that_can_not_be_used_is_400(owner, query):
    answer = owner.client.get(FILES, query)
    assert (answer.status_code, set(answer.json())) == (400, set(query))


def test_pages(owner):
    for number in range(5):
        upload(owner, name=f"{number}.txt")
    names = [
        row["name"]
        for offset in (0, 2, 4)
        for row in owner.client.get(FILES, {"limit": 2, "offset": offset}).json()["files"]
    ]
    assert names == [f"{number}.txt" for number in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("rows", [1, 3])
def test_reading_costs_the_same_however_many_files(owner, rows, django_assert_num_queries):
    for number in range(rows):
        file_id = upload(owner, name=f"{number}.txt").json()["id"]
    with django_assert_num_queries(3):  # the token, the page, the total
        assert len(owner.client.get(FILES).json()["files"]) == rows
    with django_assert_num_queries(2):  # the token, the file
        owner.client.get(f"{FILES}/{file_id}")
    with django_assert_num_queries(3):  # the token, the tier, the counter
        owner.client.get(USAGE)


# Limits ---------------------------------------------------------------------------------------------------------


def test_a_file_over_the_limit_is_413_with_the_number(owner, settings, folder):
    settings.WORKSPACE_FILE_LIMIT_BYTES = 10
    assert upload(owner, b"x" * 10, "fits.txt").status_code == 201
    for size in (11, 200_000):  # noticed while streaming; and by the form's length
        answer = upload(owner, b"x" * size, "large.txt")
        assert answer.status_code == 413
        assert {**answer.json(), "detail": ""} == {"detail": "", "code": "file_too_large", "limit_bytes": 10}
    assert len(blobs_in(folder)) == 1


@pytest.mark.parametrize(("tier", "factor"), [("FREE", 1), ("PRO", 5), ("BUSINESS", 20), ("ENTERPRISE", 60)])
def test_a_tier_multiplies_the_quota(owner, settings, tier, factor, folder):
    settings.WORKSPACE_QUOTA_BYTES = 10
    User.objects.filter(pk=owner.user.pk).update(tier=tier)
    assert upload(owner, b"x" * (10 * factor - 1), "a.txt").status_code == 201
    refused = upload(owner, b"xx", "b.txt")
    assert refused.status_code == 413
    numbers = {"code": "quota_exceeded", "size_bytes": 2, "used_bytes": 10 * factor - 1, "limit_bytes": 10 * factor}
    assert {**refused.json(), "detail": ""} == {"detail": "", **numbers}
    assert upload(owner, b"x", "b.txt").status_code == 201
    usage = owner.client.get(USAGE).json()
    assert (usage["used_bytes"], usage["limit_bytes"], usage["percent_used"], usage["tier"]) == (
        10 * factor, 10 * factor, 100.0, tier,
    )  # fmt: skip
    assert len(blobs_in(folder)) == 2


def test_a_quota_of_zero_is_unlimited(owner, settings):
    settings.WORKSPACE_QUOTA_BYTES = 0
    assert upload(owner, b"x" * 1000).status_code == 201
    usage = owner.client.get(USAGE).json()
    assert (usage["used_bytes"], usage["limit_bytes"], usage["percent_used"]) == (1000, None, 0.0)


def test_a_browser_needs_its_csrf_token(owner, folder):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(owner.user)
    form = {"file": SimpleUploadedFile("a.txt", b"x")}
    assert client.post(FILES, form).status_code == 403
    assert blobs_in(folder) == []
    client.get("/copilot/")
    token = client.cookies["csrftoken"].value
    form = {"file": SimpleUploadedFile("a.txt", b"x")}
    assert client.post(FILES, form, HTTP_X_CSRFTOKEN=token).status_code == 201


# Operators ------------------------------------------------------------------------------------------------------


def test_operators_see_and_delete_files_but_change_none(client, owner, folder, django_capture_on_commit_callbacks):
    operator = User.objects.create_superuser("operator@example.com", "correct horse battery staple")
    client.force_login(operator)
    file_id = upload(owner).json()["id"]
    assert client.get("/admin/workspace/file/").status_code == 200
    assert client.get(f"/admin/workspace/file/{file_id}/change/").status_code == 200
    assert client.post(f"/admin/workspace/file/{file_id}/change/", {"name": "x"}).status_code == 403
    assert client.get("/admin/workspace/workspace/").status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(f"/admin/workspace/file/{file_id}/delete/", {"post": "yes"}).status_code == 302
    assert used(owner) == 0
    assert blobs_in(folder) == []
    assert owner.client.get(f"{FILES}/{file_id}").status_code == 404
