"""The ledger: every movement of credits is one transaction that holds under any concurrency."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from apps.billing.errors import InsufficientBalance, KeyReused
from apps.billing.models import Balance, CreditTransaction


def spend(*, user_id: UUID, amount_cents: int, key: str, metadata: dict[str, Any] | None = None) -> CreditTransaction:
    """Take credits from a person, once.

    Args:
        user_id: Who pays.
        amount_cents: How much, at least 1.
        key: What this payment is for, at most 200 characters; the same key never takes twice.
        metadata: JSON-ready facts for operators, without anybody's words.

    Returns:
        The line of the ledger; the earlier one when this key was used before.

    Raises:
        InsufficientBalance: When there is less than that; nothing is written then.
        KeyReused: When the key stands for something else.
    """
    return _book(user_id, -_positive(amount_cents), CreditTransaction.Type.USAGE, key, metadata)


def grant(
    *,
    user_id: UUID,
    amount_cents: int,
    key: str,
    metadata: dict[str, Any] | None = None,
    kind: str = CreditTransaction.Type.GRANT,
) -> CreditTransaction:
    """Give credits to a person, once.

    Args:
        user_id: Who gets them.
        amount_cents: How much, at least 1.
        key: What they are for, at most 200 characters; the same key never gives twice.
        metadata: JSON-ready facts for operators, without anybody's words.
        kind: One of `CreditTransaction.Type`.

    Returns:
        The line of the ledger; the earlier one when this key was used before.

    Raises:
        KeyReused: When the key stands for something else.
    """
    return _book(user_id, _positive(amount_cents), kind, key, metadata)


def _positive(amount_cents: int) -> int:
    if isinstance(amount_cents, bool) or not isinstance(amount_cents, int) or amount_cents < 1:
        raise ValueError("An amount is a whole number of cents, at least 1.")
    return amount_cents


def _book(user_id: UUID, amount: int, kind: str, key: str, metadata: dict[str, Any] | None) -> CreditTransaction:
    """Move a balance by `amount` and write the line, or return the line that has the key already."""
    line = CreditTransaction(user_id=user_id, amount_cents=amount, type=kind, key=key, metadata=metadata or {})
    if (earlier := _earlier(line)) is not None:
        return earlier
    try:
        with transaction.atomic():
            _move(line)
    except (IntegrityError, InsufficientBalance):
        # Somebody used the key meanwhile; what they took may be what is missing now.
        if (earlier := _earlier(line)) is None:
            raise
        return earlier
    return line


def _move(line: CreditTransaction) -> None:
    """Change the balance, then write the line; the first statement locks the balance until the end."""
    if not _add(line):
        if line.amount_cents < 0:
            raise InsufficientBalance
        Balance.objects.bulk_create([Balance(user_id=line.user_id)], ignore_conflicts=True)
        _add(line)
    balance = Balance.objects.get(pk=line.user_id)
    line.running_balance_cents = balance.cents
    line.number = balance.transactions
    line.save()


def _add(line: CreditTransaction) -> int:
    balance = Balance.objects.filter(pk=line.user_id)
    if line.amount_cents < 0:
        balance = balance.filter(cents__gte=-line.amount_cents)
    return balance.update(cents=F("cents") + line.amount_cents, transactions=F("transactions") + 1)


def _earlier(line: CreditTransaction) -> CreditTransaction | None:
    """Return the line that has this one's key.

    Raises:
        KeyReused: When it is about another person, amount or type.
    """
    earlier = CreditTransaction.objects.filter(key=line.key).first()
    if earlier is not None and (earlier.user_id, earlier.amount_cents, earlier.type) != (
        line.user_id,
        line.amount_cents,
        line.type,
    ):
        raise KeyReused
    return earlier
