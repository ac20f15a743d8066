"""The commands, in the order and under the headings in which the help of `evergrant` has them."""

SECTIONS = {
    "Run": ["demo", "up", "worker", "beat", "web", "simulator"],
    "Set up": ["db", "providers", "clients", "keys", "apps", "webhooks"],
    "Work": ["grants", "tickets", "revocations", "dead-letters"],
    "Watch": ["status", "explain", "events", "doctor", "plan", "journals", "completion"],
}
