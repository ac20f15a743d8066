"""Every table, so that the metadata is whole for alembic."""

from models.application import Application, ApplicationClient
from models.application_key import ApplicationKey
from models.application_role import ApplicationRole
from models.asked_labels import AskedLabels
from models.chore import Chore
from models.client import Client, Valve
from models.connect_request import ConnectRequest
from models.dead_letter import DeadLetter
from models.erasure import Erasure
from models.event import Event
from models.former_token import FormerToken
from models.grant import Grant
from models.grant_account import GrantAccount
from models.held_revocation import HeldRevocation, RevocationAsk
from models.installation import Installation
from models.journal import Journal
from models.notice import Notice
from models.process import Process
from models.refresh_request import RefreshRequest
from models.revocation import Revocation
from models.tick import Tick
from models.ticket import Ticket
from models.visit import Visit
from models.waiting_request import WaitingRequest
from models.webhook import Webhook
from models.webhook_delivery import WebhookDelivery
from models.witness import Witness

__all__ = [
    "Application",
    "ApplicationClient",
    "ApplicationKey",
    "ApplicationRole",
    "AskedLabels",
    "Chore",
    "Client",
    "ConnectRequest",
    "DeadLetter",
    "Erasure",
    "Event",
    "FormerToken",
    "Grant",
    "GrantAccount",
    "HeldRevocation",
    "Installation",
    "Journal",
    "Notice",
    "Process",
    "RefreshRequest",
    "Revocation",
    "RevocationAsk",
    "Tick",
    "Ticket",
    "Valve",
    "Visit",
    "WaitingRequest",
    "Webhook",
    "WebhookDelivery",
    "Witness",
]
