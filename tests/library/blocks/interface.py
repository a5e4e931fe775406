"""The interface that agent files of other installations rely on: ids, kinds and pins of blocks.

`name*` = required, `=value` = default, `?` = null by default, nothing = optional with any default. Types: s text,
i whole number, n number, b truth value, o object, a list, none = anything or not of interest.
"""

from __future__ import annotations

AGENT_INPUT = "name*:s title?:s description?:s advanced:b=false secret:b=false"
LLM = 'model:s="gpt-4o" credentials? max_tokens?:i ollama_host:s="localhost:11434"'
PROMPT = f'{LLM} prompt*:s sys_prompt:s="" prompt_values:o={{}} retry:i=3'
CODE = 'credentials? setup_commands:a=[] language="python" timeout:i=300 template_id:s=""'
LOGS = "response:s stdout_logs:s stderr_logs:s"
REPOSITORY = "credentials* repo_url*:s"
ISSUE = "credentials* issue_url*:s"
REQUEST = 'url*:s method="POST" headers:o={} json_format:b=true body? files_name:s="file" files:a=[]'
ANSWER = "response client_error server_error"
ISO_AND_STRFTIME = '{"discriminator":"strftime","format":"%s","timezone":"UTC","use_user_timezone":false}'

#: name of the class: (id, kind, static?, input pins, output pins)
BLOCKS: dict[str, tuple[str, str, bool, str, str]] = {
    "AgentInput": ("c0a8e994-ebf1-4a9c-a4d8-89d09c86741b", "Input", True, f"{AGENT_INPUT} value?", "result"),
    "AgentShortTextInput": (
        "7fcd3bcb-8e1b-4e69-903d-32d3d4a92158",
        "Input",
        True,
        f"{AGENT_INPUT} value?:s",
        "result:s",
    ),
    "AgentLongTextInput": (
        "90a56ffb-7024-4b2b-ab50-e26c5e5ab8ba",
        "Input",
        True,
        f"{AGENT_INPUT} value?:s",
        "result:s",
    ),
    "AgentNumberInput": ("96dae2bb-97a2-41c2-bd2f-13a3b5a8ea98", "Input", True, f"{AGENT_INPUT} value?:i", "result:i"),
    "AgentDateInput": ("7e198b09-4994-47db-8b4d-952d98241817", "Input", True, f"{AGENT_INPUT} value?:s", "result:s"),
    "AgentTimeInput": ("2a1c757e-86cf-4c7e-aacf-060dc382e434", "Input", True, f"{AGENT_INPUT} value?:s", "result:s"),
    "AgentFileInput": (
        "95ead23f-8283-4654-aef3-10c053b74a31",
        "Input",
        True,
        f"{AGENT_INPUT} value?:s base_64:b=false",
        "result:s",
    ),
    "AgentDropdownInput": (
        "655d6fdf-a334-421c-b733-520549c07cd1",
        "Input",
        True,
        f"{AGENT_INPUT} value?:s options:a=[]",
        "result:s",
    ),
    "AgentToggleInput": (
        "cbf36ab5-df4a-43b6-8a7f-f7ed8652116e",
        "Input",
        True,
        f"{AGENT_INPUT} value:b=false",
        "result:b",
    ),
    "AgentTableInput": (
        "5603b273-f41e-4020-af7d-fbc9c6a8d928",
        "Input",
        True,
        f'{AGENT_INPUT} value?:a column_headers:a=["Column_1","Column_2","Column_3"]',
        "result:a",
    ),
    "AgentOutput": (
        "363ae599-353e-4804-937e-b2ee3cef3da4",
        "Output",
        True,
        f'{AGENT_INPUT} value? format:s="" escape_html:b=false',
        "output name",
    ),
    "StoreValue": ("1ff065e9-88e8-4358-9d82-8dc91f622ba9", "Standard", True, "input* data?", "output"),
    "PrintToConsole": ("f3b1c1b2-4c4f-4f0d-8d2f-4c4f0d8d2f4c", "Standard", False, "text*", "output status:s"),
    "Note": ("cc10ff7b-7753-4ff2-9af6-9399b1a7eddc", "Note", False, "text*:s", "output:s"),
    "UniversalTypeConverter": (
        "95d1b990-ce13-4d88-9737-ba5c2070c97b",
        "Standard",
        False,
        "value* type*",
        "value",
    ),
    "ReverseListOrder": (
        "422cb708-3109-4277-bfe3-bc2ae5812777",
        "Standard",
        False,
        "input_list*:a",
        "reversed_list:a",
    ),
    "FileStore": (
        "cbb50872-625b-42f0-8203-a2ae78242d8a",
        "Standard",
        True,
        "file_in*:s base_64:b=false",
        "file_out:s",
    ),
    "Condition": (
        "715696a0-e1da-45c8-b209-c2fa9c3b0be6",
        "Standard",
        False,
        "value1* operator* value2* yes_value? no_value?",
        "result:b yes_output no_output",
    ),
    "IfInputMatches": (
        "6dbbc4b3-ca6c-42b6-b508-da52d23e13f2",
        "Standard",
        False,
        "input* value* yes_value? no_value?",
        "result:b yes_output no_output",
    ),
    "StepThroughItems": (
        "f66a3543-28d3-4ab5-8945-9b336371e2ce",
        "Standard",
        False,
        'items:a=[] items_object:o={} items_str:s=""',
        "item key",
    ),
    "Calculator": (
        "b1ab9b19-67a6-406d-abf5-2dba76d00c79",
        "Standard",
        False,
        "operation*:s a*:n b*:n round_result:b=false",
        "result:n",
    ),
    "CountItems": ("3c9c2f42-b0c3-435f-ba35-05f7a25c772a", "Standard", False, "collection*", "count:i"),
    "DataSampling": (
        "4a448883-71fa-49cf-91cf-70d793bd7d87",
        "Standard",
        False,
        (
            'data* sample_size:i=10 sampling_method="random" accumulate:b=false random_seed?:i stratify_key?:s '
            "weight_key?:s cluster_key?:s"
        ),
        "sampled_data:a sample_indices:a",
    ),
    "GetCurrentTime": (
        "a892b8d9-3e4e-4e9c-9c1e-75f8efcf1bfa",
        "Standard",
        False,
        f"trigger*:s format_type={ISO_AND_STRFTIME % '%H:%M:%S'}",
        "time:s",
    ),
    "GetCurrentDate": (
        "b29c1b50-5d0e-4d9f-8f9d-1b0e6fcbf0b1",
        "Standard",
        False,
        f"trigger*:s offset=0 format_type={ISO_AND_STRFTIME % '%Y-%m-%d'}",
        "date:s",
    ),
    "GetCurrentDateAndTime": (
        "716a67b3-6760-42e7-86dc-18645c6e00fc",
        "Standard",
        False,
        f"trigger*:s format_type={ISO_AND_STRFTIME % '%Y-%m-%d_%H:%M:%S'}",
        "date_time:s",
    ),
    "CountdownTimer": (
        "d67a9c52-5e4e-11e2-bcfd-0800200c9a71",
        "Standard",
        False,
        'input_message="timer_finished" seconds=0 minutes=0 hours=0 days=0 repeat:i=1',
        "output_message",
    ),
    "CreateDictionary": (
        "b924ddf4-de4f-4b56-9a85-358930dcbc91",
        "Standard",
        False,
        "values*:o",
        "dictionary:o",
    ),
    "AddToDictionary": (
        "31d1064e-7446-4693-a7d4-65e5ca1180d1",
        "Standard",
        False,
        'dictionary:o={} key:s="" value? entries:o={}',
        "updated_dictionary:o",
    ),
    "FindInDictionary": (
        "0e50422c-6dee-4145-83d6-3a5a392f65de",
        "Standard",
        False,
        "input* key*",
        "output missing",
    ),
    "RemoveFromDictionary": (
        "46afe2ea-c613-43f8-95ff-6692c3ef6876",
        "Standard",
        False,
        "dictionary*:o key* return_value:b=false",
        "updated_dictionary:o removed_value",
    ),
    "ReplaceDictionaryValue": (
        "27e31876-18b6-44f3-ab97-f6226d8b3889",
        "Standard",
        False,
        "dictionary*:o key* value*",
        "updated_dictionary:o old_value",
    ),
    "DictionaryIsEmpty": (
        "a3cf3f64-6bb9-4cc6-9900-608a0b3359b0",
        "Standard",
        False,
        "dictionary*:o",
        "is_empty:b",
    ),
    "CreateList": (
        "a912d5c7-6e00-4542-b2a9-8034136930e4",
        "Standard",
        False,
        "values*:a max_size?:i max_tokens?:i",
        "list:a",
    ),
    "AddToList": (
        "aeb08fc1-2fc1-4141-bc8e-f758f183a822",
        "Standard",
        False,
        "list:a=[] entry? entries:a=[] position?:i",
        "updated_list:a",
    ),
    "FindInList": (
        "5e2c6d0a-1e37-489f-b1d0-8e1812b23333",
        "Standard",
        False,
        "list*:a value*",
        "index:i found:b not_found_value",
    ),
    "GetListItem": ("262ca24c-1025-43cf-a578-534e23234e97", "Standard", False, "list*:a index*:i", "item"),
    "RemoveFromList": (
        "d93c5a93-ac7e-41c1-ae5c-ef67e6e9b826",
        "Standard",
        False,
        "list*:a value? index?:i return_item:b=false",
        "updated_list:a removed_item",
    ),
    "ReplaceListItem": (
        "fbf62922-bea1-4a3d-8bac-23587f810b38",
        "Standard",
        False,
        "list*:a index*:i value*",
        "updated_list:a old_item",
    ),
    "ListIsEmpty": ("896ed73b-27d0-41be-813c-c1c1dc856c03", "Standard", False, "list*:a", "is_empty:b"),
    "ConcatenateLists": (
        "3cf9298b-5817-4141-9d80-7c2cc5199c8e",
        "Standard",
        False,
        "lists*:a deduplicate:b=false remove_none:b=false",
        "concatenated_list:a length:i",
    ),
    "FlattenList": (
        "cc45bb0f-d035-4756-96a7-fe3e36254b4d",
        "Standard",
        False,
        "nested_list*:a max_depth:i=-1",
        "flattened_list:a original_depth:i length:i",
    ),
    "InterleaveLists": (
        "9f616084-1d9f-4f8e-bc00-5b9d2a75cd75",
        "Standard",
        False,
        "lists*:a",
        "interleaved_list:a length:i",
    ),
    "ZipLists": (
        "0d0e684f-5cb9-4c4b-b8d1-47a0860e0c07",
        "Standard",
        False,
        "lists*:a pad_to_longest:b=false fill_value?",
        "zipped_list:a length:i",
    ),
    "ListDifference": (
        "05309873-9d61-447e-96b5-b804e2511829",
        "Standard",
        False,
        "list_a*:a list_b*:a symmetric:b=false",
        "difference:a length:i",
    ),
    "ListIntersection": (
        "b6eb08b6-dbe3-411b-b9b4-2508cb311a1f",
        "Standard",
        False,
        "list_a*:a list_b*:a",
        "intersection:a length:i",
    ),
    "MatchTextPattern": (
        "3060088f-6ed9-4928-9ba7-9c92823a7ccd",
        "Standard",
        False,
        "text* match*:s data case_sensitive:b=true dot_all:b=true",
        "positive negative",
    ),
    "ExtractTextInformation": (
        "3146e4fe-2cdd-4f29-bd12-0c9d5bb4deb0",
        "Standard",
        False,
        "text* pattern*:s group:i=0 case_sensitive:b=true dot_all:b=true find_all:b=false",
        "positive:s negative:s matched_results:a matched_count:i",
    ),
    "FillTextTemplate": (
        "db7d8f02-2f44-4c55-ab7a-eae0941f0c30",
        "Standard",
        False,
        "values*:o format*:s escape_html:b=false",
        "output:s",
    ),
    "CombineTexts": (
        "e30a4d42-7b7d-4e6a-b36e-1f9b8e3b7d85",
        "Standard",
        False,
        'input*:a delimiter:s=""',
        "output:s",
    ),
    "TextSplit": (
        "d5ea33c8-a575-477a-b42f-2fe3be5055ec",
        "Standard",
        False,
        "text*:s delimiter*:s strip:b=true",
        "texts:a",
    ),
    "TextReplace": ("7e7c87ab-3469-4bcc-9abe-67705091b713", "Standard", False, "text*:s old*:s new*:s", "output:s"),
    "TextDecoder": ("2570e8fe-8447-43ed-84c7-70d657923231", "Standard", False, "text*:s", "decoded_text:s"),
    "TextEncoder": ("5185f32e-4b65-4ecf-8fbb-873f003f09d6", "Standard", False, "text*:s", "encoded_text:s"),
    "CodeExtraction": (
        "d3a7d896-3b78-4f44-8b4b-48fbf4f0bcd8",
        "Standard",
        False,
        "text*:s",
        (
            "html:s css:s javascript:s python:s sql:s java:s cpp:s csharp:s json_code:s bash:s php:s ruby:s yaml:s "
            "markdown:s typescript:s xml:s remaining_text:s"
        ),
    ),
    "WordCharacterCount": (
        "ab2a782d-22cf-4587-8a70-55b59b3f9f90",
        "Standard",
        False,
        "text*:s",
        "word_count:i character_count:i",
    ),
    "FileRead": (
        "3735a31f-7e18-4aca-9e90-08a7120674bc",
        "Standard",
        False,
        'file_input*:s delimiter:s="" size_limit:i=0 row_limit:i=0 skip_size:i=0 skip_rows:i=0',
        "content:s",
    ),
    "ReadSpreadsheet": (
        "acf7625e-d2cb-4941-bfeb-2819fc6fc015",
        "Standard",
        False,
        (
            'contents?:s file_input?:s delimiter:s="," quotechar:s="\\"" escapechar:s="\\\\" has_header:b=true '
            "skip_rows:i=0 strip:b=true skip_columns:a=[] produce_singular_result:b=false"
        ),
        "row:o rows:a",
    ),
    "XMLParser": ("286380af-9529-4b55-8be0-1d7c854abdb5", "Standard", False, "input_xml*:s", "parsed_xml:o"),
    "JSONEncoder": ("9a9d20c5-5b4d-4e94-8022-83b6cb72648a", "Standard", False, "data*", "json_str:s"),
    "JSONDecoder": ("2b935639-65bc-48fd-9f88-823cd706fcd9", "Standard", False, "json_str*:s", "data"),
    "PersistInformation": (
        "1d055e55-a2b9-4547-8311-907d05b0304d",
        "Standard",
        False,
        'key*:s value* scope="within_agent"',
        "value",
    ),
    "RetrieveInformation": (
        "d8710fc9-6e29-481e-a7d5-165eb16f8471",
        "Standard",
        True,
        'key*:s scope="within_agent" default_value?',
        "value",
    ),
    "SendWebRequest": (
        "6595ae1f-b924-42cb-9a41-551a0611c4b4",
        "Standard",
        False,
        REQUEST,
        ANSWER,
    ),
    "ReadRSSFeed": (
        "5ebe6768-8e5d-41e3-9134-1c7bd89a8d52",
        "Standard",
        False,
        "rss_url*:s time_period:i=1440 polling_rate*:i run_continuously:b=true",
        "entry:o entries:a",
    ),
    "GetWikipediaSummary": (
        "f5b0f5d0-1862-4d61-94be-3ad0fa772760",
        "Standard",
        False,
        "topic*:s",
        "summary:s",
    ),
    "GenericWebhookTrigger": (
        "8fa8c167-2002-47ce-aba8-97572fc5d387",
        "Webhook (manual)",
        False,
        "payload:o={} constants:o={} secret_token?:s",
        "payload:o constants:o",
    ),
    "HumanInTheLoop": (
        "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d",
        "Human In The Loop",
        False,
        "data* name*:s editable:b=true",
        "approved_data rejected_data review_message:s",
    ),
    "AgentExecutor": (
        "e189baac-8c20-45a1-94a7-55177ea42565",
        "Agent",
        False,
        (
            'user_id:s="" graph_id*:s graph_version*:i agent_name?:s inputs:o={} input_schema:o={} output_schema:o={} '
            "nodes_input_masks?:o"
        ),
        "",
    ),
    "AutoPilot": (
        "c069dc6b-c3ed-4c12-b6e5-d47361e64ce6",
        "AI",
        False,
        (
            'prompt*:s system_context:s="" session_id:s="" max_recursion_depth:i=3 tools:a=[] tools_exclude:b=true '
            "blocks:a=[] blocks_exclude:b=true dry_run:b=false"
        ),
        "response:s tool_calls:a conversation_history:s session_id:s token_usage:o",
    ),
    "MCPTool": (
        "a0a4b1c2-d3e4-4f56-a7b8-c9d0e1f2a3b4",
        "MCP Tool",
        False,
        'server_url*:s selected_tool:s="" tool_input_schema:o={} tool_arguments:o={} credentials?',
        "result",
    ),
    "SendAuthenticatedWebRequest": (
        "fff86bcd-e001-4bad-a7f6-2eae4720c8dc",
        "Standard",
        False,
        f"{REQUEST} credentials*",
        ANSWER,
    ),
    "AITextGenerator": ("1f292d4a-41a4-4977-9684-7c8d560b9f91", "Standard", False, PROMPT, "response:s prompt:a"),
    "AIStructuredResponseGenerator": (
        "ed55ac19-356e-4243-a6cb-bc599e9b716f",
        "Standard",
        False,
        (
            f"{PROMPT} expected_format*:o list_result:b=false force_json_output:b=false conversation_history:a=[] "
            "compress_prompt_to_fit:b=true"
        ),
        "response prompt:a",
    ),
    "AIConversation": (
        "32a87eab-381e-4dd4-bdb8-4c47151be35a",
        "Standard",
        False,
        f'{LLM} prompt:s="" messages*:a',
        "response:s prompt:a",
    ),
    "AITextSummarizer": (
        "a0a69be1-4528-491c-a85a-a4ab6873e3f0",
        "Standard",
        False,
        (
            'model:s="gpt-4o" credentials? max_tokens:i=4096 ollama_host:s="localhost:11434" text*:s '
            'focus:s="general_information" style="concise" chunk_overlap:i=100'
        ),
        "summary:s prompt:a",
    ),
    "AIListGenerator": (
        "9c0b0450-d199-458b-a731-072189dd6593",
        "Standard",
        False,
        f"{LLM} focus?:s source_data?:s max_retries:i=3 force_json_output:b=false",
        "generated_list:a list_item:s prompt:a",
    ),
    "AICondition": (
        "553ec5b8-6c45-4299-8d75-b394d05f72ff",
        "Standard",
        False,
        'input_value* condition*:s yes_value? no_value? model:s="gpt-4o" credentials?',
        "result:b yes_output no_output",
    ),
    "Orchestrator": (
        "3b191d9f-356f-482d-8238-ba04b6d18381",
        "AI",
        False,
        (
            f"{LLM} prompt*:s sys_prompt:s prompt_values:o={{}} multiple_tool_calls:b=false conversation_history:a=[] "
            'last_tool_output? retry:i=3 agent_mode_max_iterations:i=0 execution_mode="built_in" '
            "conversation_compaction:b=true"
        ),
        "tools finished:s conversations:a",
    ),
    "SendEmail": (
        "4335878a-394e-4e67-adf2-919877ff49ae",
        "Standard",
        False,
        "to_email*:s subject*:s body*:s config* credentials*",
        "status:s",
    ),
    "SendSlackMessage": (
        "50cf5290-ec87-4ca1-b7d7-b8b4ef772f6d",
        "Standard",
        False,
        "credentials* channel*:s text*:s thread_ts?:s username?:s icon_emoji?:s unfurl_links:b=true mrkdwn:b=true",
        "ts:s channel:s",
    ),
    "SendTelegramMessage": (
        "787678ad-1f47-4efc-89df-643f9908621a",
        "Standard",
        False,
        'credentials* chat_id*:i text*:s parse_mode="none" reply_to_message_id?:i disable_notification:b=false',
        "message_id:i status:s",
    ),
    "SendDiscordMessage": (
        "d0822ab5-9f8a-44a3-8971-531dd0178b6b",
        "Standard",
        False,
        'credentials* message_content*:s channel_name*:s server_name:s=""',
        "status:s message_id:s channel_id:s",
    ),
    "ReadDiscordMessages": (
        "df06086a-d5ac-4abb-9996-2ad0acb2eff7",
        "Standard",
        False,
        "credentials*",
        "message_content:s message_id:s channel_id:s channel_name:s user_id:s username:s",
    ),
    "GithubMakeIssue": (
        "691dad47-f494-44c3-a1e8-05b7990f2dab",
        "Standard",
        False,
        f"{REPOSITORY} title*:s body*:s",
        "number:i url:s",
    ),
    "GithubReadIssue": ("6443c75d-032a-4772-9c08-230c707c8acc", "Standard", False, ISSUE, "title:s body:s user:s"),
    "GithubListIssues": (
        "c215bfd7-0e57-4573-8f8c-f7d4963dcd74",
        "Standard",
        False,
        (
            f'{REPOSITORY} state="open" labels:a=[] limit:i=30 assignee:s="" creator:s="" since:s="" sort:s="created" '
            'direction:s="desc"'
        ),
        "issue:o issues:a",
    ),
    "GithubComment": ("a8db4d8d-db1c-4a25-a1b0-416a8c33602b", "Standard", False, f"{ISSUE} comment*:s", "id:i url:s"),
    "GithubAddLabel": ("98bd6b77-9506-43d5-b669-6b9733c4b1f1", "Standard", False, f"{ISSUE} label*:s", "status:s"),
    "GithubListPullRequests": (
        "ffef3c4c-6cd0-48dd-817d-459f975219f4",
        "Standard",
        False,
        REPOSITORY,
        "pull_request:o pull_requests:a",
    ),
    "GithubMakePullRequest": (
        "dfb987f8-f197-4b2e-bf19-111812afd692",
        "Standard",
        False,
        f"{REPOSITORY} title*:s body*:s head*:s base*:s",
        "number:i url:s",
    ),
    "GithubReadPullRequest": (
        "bf94b2a4-1a30-4600-a783-a8a44ee31301",
        "Standard",
        False,
        "credentials* pr_url*:s include_pr_changes:b=false",
        "title:s body:s author:s changes:s",
    ),
    "GithubReadFile": (
        "3d8ced3d-3948-4bb7-8900-106f8ab6e392",
        "Standard",
        False,
        f'{REPOSITORY} file_path*:s branch:s=""',
        "text_content:s raw_content:s size:i",
    ),
    "GithubCreateFile": (
        "5af9ca7d-92cc-43f3-891e-d0a3dc4988e5",
        "Standard",
        False,
        f'{REPOSITORY} file_path*:s branch:s="" content*:s commit_message:s="Create_new_file"',
        "url:s sha:s",
    ),
    "GithubUpdateFile": (
        "9c0abc29-1928-4216-a27c-44f43903c831",
        "Standard",
        False,
        f'{REPOSITORY} file_path*:s branch:s="" content*:s commit_message:s="Update_file"',
        "url:s sha:s",
    ),
    "ExecuteCode": (
        "0b02b072-abe7-11ef-8372-fb5d162dd712",
        "Standard",
        False,
        f'{CODE} code:s="" dispose_sandbox:b=true variables:o={{}}',
        f"{LOGS} main_result:o results:a files:a",
    ),
    "InstantiateCodeSandbox": (
        "ff0861c9-1726-4aec-9e5b-bf53f3622112",
        "Standard",
        False,
        f'{CODE} setup_code:s=""',
        f"{LOGS} sandbox_id:s",
    ),
    "ExecuteCodeStep": (
        "82b59b8e-ea10-4d57-9161-8b169b0adba6",
        "Standard",
        False,
        'credentials? sandbox_id*:s step_code:s="" language="python"',
        f"{LOGS} main_result:o results:a files:a",
    ),
}

#: What a person may want to approve first; no other block does anything to the world.
SENSITIVE = {
    "SendWebRequest",
    "SendAuthenticatedWebRequest",
    "MCPTool",
    "SendEmail",
    "SendSlackMessage",
    "SendTelegramMessage",
    "SendDiscordMessage",
    "GithubMakeIssue",
    "GithubComment",
    "GithubAddLabel",
    "GithubMakePullRequest",
    "GithubCreateFile",
    "GithubUpdateFile",
}
