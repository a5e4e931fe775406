"""Makes signed-in people in a cluster's database: `python -m tests.chaos.people COUNT` prints them as JSON."""

from __future__ import annotations

import json
import sys

import django


def make_people(count: int) -> list[dict[str, str]]:
    """Return the API token and the browser's session cookie of each."""
    from django.test import Client

    from apps.accounts.models import User
    from apps.accounts.services import create_api_token

    people = []
    for number in range(count):
        user = User.objects.create_user(f"person{number}@example.com", None)
        _, key = create_api_token(user=user, name="chaos")
        browser = Client()
        browser.force_login(user)
        people.append({"token": key, "cookie": f"sessionid={browser.cookies['sessionid'].value}"})
    return people


if __name__ == "__main__":
    django.setup()
    sys.stdout.write(json.dumps(make_people(int(sys.argv[1]))))
