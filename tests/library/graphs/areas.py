"""The paths of the agents' API, in the groups that are attacked together."""

ROOT = "/api/library"
AREAS = {
    "the library": ["/agents"],
    "an agent": ["/agents/{agent_id}"],
    "files": ["/agents/import", "/agents/{agent_id}/export", "/graphs/validate"],
    "versions": [
        "/agents/{agent_id}/graph",
        "/agents/{agent_id}/versions",
        "/agents/{agent_id}/versions/{version}/activate",
        "/agents/{agent_id}/versions/{version}/clone",
    ],
    "folders": ["/folders", "/folders/{folder_id}"],
    "presets": ["/presets", "/presets/{preset_id}", "/blocks"],
}
