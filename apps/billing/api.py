"""The credits API."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.billing import queries
from apps.billing import serializers as shapes
from apps.runtime.rest import caller_id


class BalanceView(APIView):
    """Your credits."""

    @extend_schema(operation_id="credits_balance", responses=shapes.BalanceSerializer)
    def get(self, request: Request) -> Response:
        """Return your balance."""
        return Response({"balance_cents": queries.balance_cents(caller_id(request))})


class TransactionListView(APIView):
    """Your ledger."""

    @extend_schema(
        operation_id="credits_transactions_list",
        parameters=[shapes.TransactionQuerySerializer],
        responses=shapes.TransactionPageSerializer,
    )
    def get(self, request: Request) -> Response:
        """List your transactions, newest first."""
        query = shapes.TransactionQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        page, cursor = queries.transactions(
            user_id=caller_id(request), limit=asked["limit"], before=asked.get("cursor"), kind=asked.get("type", "")
        )
        return Response(shapes.TransactionPageSerializer({"transactions": page, "next_cursor": cursor}).data)
