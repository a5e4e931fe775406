"""What can go wrong with credits."""

from __future__ import annotations

from apps.runtime.errors import Conflict, PaymentRequired


class InsufficientBalance(PaymentRequired):
    """You don't have enough credits for this."""

    code = "insufficient_balance"


class KeyReused(Conflict):
    """This key stands for another transaction."""

    code = "key_reused"
