"""The tables of the library, one module a subject."""

from apps.library.models.credentials import Credential, OAuthAttempt
from apps.library.models.executions import Execution, NodeExecution, NodeOutput
from apps.library.models.graphs import Graph, Link, Node
from apps.library.models.library import Folder, LibraryAgent, Preset, StoredValue
from apps.library.models.reviews import AutoApproval, Review
from apps.library.models.schedules import Schedule
from apps.library.models.webhooks import Webhook, WebhookDelivery

__all__ = (
    "AutoApproval",
    "Credential",
    "Execution",
    "Folder",
    "Graph",
    "LibraryAgent",
    "Link",
    "Node",
    "NodeExecution",
    "NodeOutput",
    "OAuthAttempt",
    "Preset",
    "Review",
    "Schedule",
    "StoredValue",
    "Webhook",
    "WebhookDelivery",
)
