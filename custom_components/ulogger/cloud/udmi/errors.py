"""How sending to a UDMI site fails, beside what any cloud's connection fails with."""

from ...model.reason import Reason
from ..errors import CloudError


class NotAttached(CloudError):
    """The site has not taken the device in: its config does not name the proxy."""

    reason = Reason.NOT_ATTACHED
