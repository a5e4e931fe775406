"""What waits for a person's decision."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from apps.accounts.models import User
from apps.library.pages import queries
from apps.library.pages.reviews import Question, Unreadable
from apps.library.reviews import queries as review_queries
from apps.library.reviews.errors import DecisionInvalid, NotWaiting
from apps.library.reviews.services import Decision
from apps.library.reviews.services import decide as take_decisions
from apps.library.views.frame import back, page, page_number, paging, tell_error

REVIEWS_A_PAGE = 10
MESSAGE_LENGTH = 2000


@page("GET")
def review_list(request: HttpRequest, user: User) -> HttpResponse:
    """Show what waits, newest first."""
    number = page_number(request)
    reviews, total = review_queries.waiting_reviews(
        user_id=user.pk, limit=REVIEWS_A_PAGE, offset=(number - 1) * REVIEWS_A_PAGE
    )
    context = {
        "reviews": [Question(review) for review in reviews],
        "paging": paging(request, number=number, size=REVIEWS_A_PAGE, total=total),
    }
    return render(request, "library/reviews.html", context)


@page("POST")
def decide(request: HttpRequest, user: User, review_id: UUID) -> HttpResponse:
    """Approve, perhaps with changes, or reject; what can't be taken is shown again with the reason."""
    question = Question(
        queries.access_review(user.pk, review_id),
        typed=request.POST.get("data"),
        typed_message=request.POST.get("message", "").replace("\x00", "").strip()[:MESSAGE_LENGTH],
    )
    approved = request.POST.get("decision") == "approve"
    try:
        decision = Decision(
            node_execution_id=review_id,
            approved=approved,
            message=question.typed_message,
            reviewed_data=question.changed() if approved else None,
            auto_approve_future=approved and "approve_all" in request.POST,
        )
        outcome = take_decisions(user_id=user.pk, decisions=[decision])
    except Unreadable as error:
        question.error = str(error)
        return render(request, "library/review.html", {"review": question}, status=400)
    except DecisionInvalid as error:
        question.error = error.detail
        return render(request, "library/review.html", {"review": question}, status=400)
    except NotWaiting as error:
        tell_error(request, error)
    else:
        _tell(request, approved=approved, is_late=bool(outcome.failed_count), count=outcome.approved_count)
    return back(request, "library:reviews")


def _tell(request: HttpRequest, *, approved: bool, is_late: bool, count: int) -> None:
    if is_late:
        messages.info(request, "This was decided already; that decision stays.")
    elif approved and count > 1:
        messages.success(request, f"Approved, with {count - 1} more of this step. Further ones don't ask any more.")
    else:
        messages.success(request, "Approved. The run goes on." if approved else "Rejected. The run goes on without it.")
