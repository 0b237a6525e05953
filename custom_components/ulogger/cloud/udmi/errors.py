"""How sending to a UDMI site fails, beside what any cloud's connection fails with."""

from ...model.reason import Reason
from ..errors import CloudUnavailable


class NotAttached(CloudUnavailable):
    """The site has not taken the device in: its config does not name the proxy.

    It is like having no connection for one device; when there is one, nothing waits any longer.
    """

    reason = Reason.NOT_ATTACHED
