"""What devices logged is for administrators, whoever asks for them."""

from homeassistant.core import Context, HomeAssistant
from homeassistant.exceptions import Unauthorized, UnknownUser


async def async_check_administrator(hass: HomeAssistant, context: Context | None) -> None:
    """Raise Unauthorized for any other user; what automations ask has no user."""
    if context is None or context.user_id is None:
        return
    if (user := await hass.auth.async_get_user(context.user_id)) is None:
        raise UnknownUser(context=context)
    if not user.is_admin:
        raise Unauthorized(context=context)
