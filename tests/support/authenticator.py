"""Chromium's own virtual security key. The page asks it as it would a real one: nothing of the page's is replaced."""

from typing import Any

from playwright.sync_api import Page


class Authenticator:
    """One that is plugged into a tab, and touched at once when it is asked."""

    def __init__(self, page: Page, **options: Any) -> None:
        self._tools = page.context.new_cdp_session(page)
        self._tools.send("WebAuthn.enable")
        usual = {"protocol": "ctap2", "transport": "usb", "automaticPresenceSimulation": True}
        self._id = self._tools.send("WebAuthn.addVirtualAuthenticator", {"options": {**usual, **options}})[
            "authenticatorId"
        ]

    def _send(self, what: str, **more: Any) -> Any:
        return self._tools.send(f"WebAuthn.{what}", {"authenticatorId": self._id, **more})

    @property
    def counts(self) -> list[int]:
        """How many signatures each of its keys has made."""
        return [each["signCount"] for each in self._credentials()]

    def _credentials(self) -> list[dict[str, Any]]:
        return list(self._send("getCredentials")["credentials"])

    def wind_back(self) -> None:
        """Be a copy that was made before all signatures."""
        for each in self._credentials():
            self._send("removeCredential", credentialId=each["credentialId"])
            self._send("addCredential", credential={**each, "signCount": 0})

    def leave_untouched(self) -> None:
        self._send("setAutomaticPresenceSimulation", enabled=False)

    def touch(self) -> None:
        self._send("setAutomaticPresenceSimulation", enabled=True)

    def unplug(self) -> None:
        self._send("removeVirtualAuthenticator")
