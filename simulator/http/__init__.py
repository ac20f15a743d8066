"""The provider over a real connection: routes, pages, answers on the wire, and the control endpoint."""
