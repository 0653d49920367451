"""What an operator can be refused, beside what ``domain.errors`` has."""

from collections.abc import Sequence

from domain.administration.documents import Flaw
from domain.errors import Kind, SluiceError


class InvalidDocument(SluiceError):
    """What was to be written is not what it must be; ``flaws`` says where and how."""

    kind = Kind.INVALID
    code = "invalid_document"

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        super().__init__("; ".join(f"{flaw.pointer or 'the document'} {flaw.what}" for flaw in flaws))
        self.flaws = tuple(flaws)


class VersionChanged(SluiceError):
    kind = Kind.CHANGED
    code = "version_changed"

    def __init__(self) -> None:
        super().__init__("It has been changed since you read it; read it again.")


class TenantExists(SluiceError):
    kind = Kind.CONFLICT
    code = "tenant_exists"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"There is a tenant {tenant_id} already.")


class TenantIdTaken(SluiceError):
    """The path of this tenant would be a provider's."""

    kind = Kind.CONFLICT
    code = "tenant_id_taken"

    def __init__(self, tenant_id: str) -> None:
        super().__init__(f"A provider has the id {tenant_id}; its paths would be the tenant's.")


class GroupExists(SluiceError):
    kind = Kind.CONFLICT
    code = "group_exists"

    def __init__(self, group_id: str) -> None:
        super().__init__(f"The tenant has a group {group_id} already.")


class UnknownGroup(SluiceError):
    kind = Kind.NOT_FOUND
    code = "group_not_found"

    def __init__(self, group_id: str) -> None:
        super().__init__(f"The tenant has no group {group_id}.")


class UnknownProvider(SluiceError):
    kind = Kind.NOT_FOUND
    code = "provider_not_registered"

    def __init__(self) -> None:
        super().__init__("No such provider is registered.")
