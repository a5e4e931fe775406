"""Blocks that graphs are read, checked and mended by, and names of blocks that other platforms have and we don't."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from apps.library.blocks.registry import OLD_IDS, get_block

AGENT_INPUT = "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b"
DROPDOWN_INPUT = "655d6fdf-a334-421c-b733-520549c07cd1"
TABLE_INPUT = "5603b273-f41e-4020-af7d-fbc9c6a8d928"
AGENT_EXECUTOR = "e189baac-8c20-45a1-94a7-55177ea42565"
ORCHESTRATOR = "3b191d9f-356f-482d-8238-ba04b6d18381"
MCP_TOOL = "a0a4b1c2-d3e4-4f56-a7b8-c9d0e1f2a3b4"
STORE_VALUE = "1ff065e9-88e8-4358-9d82-8dc91f622ba9"
TYPE_CONVERTER = "95d1b990-ce13-4d88-9737-ba5c2070c97b"
CONDITION = "715696a0-e1da-45c8-b209-c2fa9c3b0be6"
CREATE_LIST = "a912d5c7-6e00-4542-b2a9-8034136930e4"
ADD_TO_LIST = "aeb08fc1-2fc1-4141-bc8e-f758f183a822"
CREATE_DICTIONARY = "b924ddf4-de4f-4b56-9a85-358930dcbc91"
ADD_TO_DICTIONARY = "31d1064e-7446-4693-a7d4-65e5ca1180d1"
EXECUTE_CODE = "0b02b072-abe7-11ef-8372-fb5d162dd712"
CODE_EXTRACTION = "d3a7d896-3b78-4f44-8b4b-48fbf4f0bcd8"
DATA_SAMPLING = "4a448883-71fa-49cf-91cf-70d793bd7d87"
TEXT_REPLACE = "7e7c87ab-3469-4bcc-9abe-67705091b713"
CURRENT_DATE = "b29c1b50-5d0e-4d9f-8f9d-1b0e6fcbf0b1"
FILE_READ = "3735a31f-7e18-4aca-9e90-08a7120674bc"
SEND_EMAIL = "4335878a-394e-4e67-adf2-919877ff49ae"
GMAIL_SEND = "6c27abc2-e51d-499e-a85f-5a0041ba94f0"
SHEETS_READ = "5724e902-3635-47e9-a108-aaa0263a4988"
SHEETS_WRITE = "d9291e87-301d-47a8-91fe-907fb55460e5"
SHEETS_APPEND = "531d50c0-d6b9-4cf9-a013-7bf783d313c7"

#: What people call blocks that may be missing here, so that a placeholder says more than an id.
NAMES_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "d3b32f15-6fd7-40e3-be52-e083f51b19a2": "Agent Google Drive File Input",
        "fff86bcd-e001-4bad-a7f6-2eae4720c8dc": "Send Authenticated Web Request",
        "436c3984-57fd-4b85-8e9a-459b356883bd": "Extract Website Content",
        "87840993-2053-44b7-8da4-187ad4ee518c": "Search The Web",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479": "Google Maps Search",
        "f3a8f7e1-4b1d-4e5f-9f2a-7c3d5a2e6b4c": "Transcribe Youtube Video",
        "c8a5f2e9-8b3d-4a7e-9f6c-1d5e3c9b7a4f": "Perplexity",
        "ed1ae7a0-b770-4089-b520-1f0005fad19a": "AI Image Generator",
        "361697fb-0c4f-4feb-aed3-8320c88c771b": "AI Shortform Video Creator",
        "6ab085e2-20b3-4055-bc3e-08036e01eca6": "Ideogram Model",
        "90f8c45e-e983-4644-aa0b-b4ebe2f531bc": "Replicate Flux Advanced Model",
        "d8b91fd4-da26-42d4-8ecb-8b196c6d84b6": "Media Duration",
        "8bf9eef6-5451-4213-b265-25306446e94b": "Loop Video",
        "3503748d-62b6-4425-91d6-725b064af509": "Add Audio To Video",
        "df06086a-d5ac-4abb-9996-2ad0acb2eff7": "Read Discord Messages",
        "25310c70-b89b-43ba-b25c-4dfa7e2a481c": "Gmail Read",
        GMAIL_SEND: "Gmail Send",
        "e1eeead4-46cb-491e-8281-17b6b9c44a55": "Gmail Create Draft",
        "12bf5a24-9b90-4f40-9090-4e86e6995e60": "Gmail Reply",
        "64d2301c-b3f5-4174-8ac0-111ca1e1a7c0": "Gmail Forward",
        "f884b2fb-04f4-4265-9658-14f433926ac9": "Gmail Add Label",
        SHEETS_READ: "Google Sheets Read",
        SHEETS_WRITE: "Google Sheets Write",
        SHEETS_APPEND: "Google Sheets Append Row",
        "80bc3ed1-e9a4-449e-8163-a8fc86f74f6a": "Google Calendar Read Events",
        "98bd6b77-9506-43d5-b669-6b9733c4b1f1": "Github Add Label",
        "c15febe0-66ce-4c6f-aebd-5ab351653804": "Notion Create Page",
        "fcd53135-88c9-4ba3-be50-cc6936286e6c": "Notion Read Database",
        "d1312c4d-fae2-4e70-893d-f4d07cce1d4e": "Notion Read Page Markdown",
        "f9c68f55-dcca-40a8-8771-abf9601680aa": "Linear Create Issue",
        "b5a2a0e6-26b4-4c5b-8a42-bc79e9cb65c2": "Linear Search Issues",
        "8f7d3a2e-9b5c-4c6a-8f1d-7c8b3e4a5d6c": "Linear Create Comment",
        "ff0861c9-1726-4aec-9e5b-bf53f3622112": "Instantiate Code Sandbox",
        "82b59b8e-ea10-4d57-9161-8b169b0adba6": "Execute Code Step",
        "a4b9c2d1-e5f6-4g7h-8i9j-0k1l2m3n4o5p": "Github List Stargazers",
    }
)


def block_name(block_id: str) -> str:
    """Return what people call a block; its id when nobody has told us."""
    block = get_block(block_id)
    return block.name if block else NAMES_ELSEWHERE.get(OLD_IDS.get(block_id, block_id), block_id)
