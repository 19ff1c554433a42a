from itertools import groupby

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from bloonio_chat import ChatRelayError, get_chat_client
from example_project.desk.models import HeardEvent

EVENTS_SHOWN = 200


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    newest = HeardEvent.objects.order_by("-occurred_at", "-pk")[:EVENTS_SHOWN]
    events = sorted(newest, key=lambda event: (event.conversation_id, event.occurred_at))
    conversations = [(key, list(found)) for key, found in groupby(events, lambda event: event.conversation_id)]
    return render(request, "desk/index.html", {"conversations": conversations})


@require_POST
def ask(request: HttpRequest) -> HttpResponse:
    client = get_chat_client()
    try:
        conversation = client.create_conversation(
            visitor_user_id="customer-at-the-desk", visitor_display_name=request.POST.get("name") or None, locale="en"
        )
        client.send_message(conversation.id, content=request.POST.get("question", ""))
    except ChatRelayError as error:
        return render(request, "desk/index.html", {"problem": str(error)}, status=502)
    return redirect("index")
