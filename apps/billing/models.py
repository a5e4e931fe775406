"""Credits: a balance for each person and the ledger that explains it. Amounts are whole cents."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class Balance(models.Model):
    """What a person has. Spending can't bring it below zero; a refund or a lost dispute may."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="credit_balance"
    )
    cents = models.BigIntegerField(default=0, editable=False)
    transactions = models.PositiveBigIntegerField(default=0, editable=False)  # how many the ledger holds

    def __str__(self) -> str:
        return str(self.pk)


class CreditTransaction(models.Model):
    """One line of the ledger; it is written once and never changed."""

    class Type(models.TextChoices):
        """What moved the balance."""

        TOP_UP = "TOP_UP", "top-up"
        USAGE = "USAGE", "usage"
        GRANT = "GRANT", "grant"
        REFUND = "REFUND", "refund"
        CARD_CHECK = "CARD_CHECK", "card check"
        AUTO_TOP_UP = "AUTO_TOP_UP", "automatic top-up"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Whoever has a ledger is deactivated, not deleted: books must stay whole.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="credit_transactions")
    number = models.PositiveBigIntegerField(editable=False)  # its place in the person's ledger: 1, 2, …
    amount_cents = models.BigIntegerField()
    running_balance_cents = models.BigIntegerField(editable=False)
    type = models.CharField(max_length=16, choices=Type.choices)
    key = models.CharField(max_length=200, unique=True)
    metadata = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ("-created_at", "-number")
        constraints = (
            models.UniqueConstraint(fields=["user", "number"], name="one_credit_transaction_a_place"),
            models.CheckConstraint(
                condition=models.Q(type__in=["TOP_UP", "USAGE", "GRANT", "REFUND", "CARD_CHECK", "AUTO_TOP_UP"]),
                name="known_credit_transaction_type",
            ),
        )

    def __str__(self) -> str:
        return f"{self.type} {self.amount_cents}"

    def save(self, **options: Any) -> None:
        """Store a new line.

        Raises:
            TypeError: When it is stored already.
        """
        if not self._state.adding:
            raise TypeError("The ledger only grows; write a further transaction instead.")
        super().save(**options)
