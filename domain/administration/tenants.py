"""Tenants as operators see them: documents with versions, so that nobody overwrites what they have not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.administration.access import Operator
from domain.administration.documents import READ_ONLY, Flaw, changes, forgetting, merge_patch, moved_keys, pointer
from domain.administration.errors import (
    GroupExists,
    InvalidDocument,
    TenantExists,
    TenantIdTaken,
    UnknownGroup,
    VersionChanged,
)
from domain.chat import JsonObject
from domain.errors import TenantMisconfigured, UnknownTenant
from domain.facts import Administered
from domain.ids import is_id
from domain.ports import Journal, Stored, TenantDocuments
from domain.providers import ProviderRegistry
from domain.tenants import EVERY_GROUP, GroupId, TenantId

#: How often a change that needs no version is tried while others change the document.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class TenantAdministration:
    """Creates, changes and deletes tenants. A version of None stands for whichever there is."""

    documents: TenantDocuments
    registry: ProviderRegistry
    journal: Journal

    async def ids(self) -> Sequence[TenantId]:
        """All tenants' ids, in order."""
        return sorted({tenant_id async for tenant_id in self.documents.ids()})

    async def show(self, tenant_id: TenantId) -> Stored:
        """The tenant's document.

        Raises:
            UnknownTenant: there is none.
        """
        stored = await self.documents.read(tenant_id) if is_id(tenant_id) else None
        if stored is None:
            raise UnknownTenant
        return stored

    async def create(self, by: Operator, tenant_id: TenantId, document: JsonObject) -> Stored:
        """Make a tenant.

        Raises:
            InvalidDocument: the id or the document is none.
            TenantIdTaken: a provider has this id.
            TenantExists: the tenant is there.
        """
        if not is_id(tenant_id):
            raise InvalidDocument([Flaw("/id", "is no id: letters, digits, '.', '_', '@' and '-', 128 at most")])
        if tenant_id in self.registry:
            raise TenantIdTaken(tenant_id)
        self._require_sound(document)
        try:
            stored = await self.documents.replace(tenant_id, document, None)
        except VersionChanged:
            raise TenantExists(tenant_id) from None
        self._tell(by, "tenant.create", tenant_id, {}, document)
        return stored

    async def patch(self, by: Operator, tenant_id: TenantId, patch: JsonObject, version: str | None) -> Stored:
        """Change what a JSON merge patch names; the document as it is then.

        Raises:
            UnknownTenant, InvalidDocument: in this order.
            VersionChanged: the document is not of this version (any more).
        """
        before = await self._current(tenant_id, version)
        after = merge_patch(before.document or {}, patch)
        if not isinstance(after, dict):
            raise InvalidDocument([Flaw("", "must be an object")])
        return await self._write(by, "tenant.change", before, after)

    async def replace(self, by: Operator, tenant_id: TenantId, document: JsonObject, version: str | None) -> Stored:
        """Write the whole document of a tenant that is there; raises what ``patch`` does."""
        return await self._write(by, "tenant.change", await self._current(tenant_id, version), document)

    async def delete(self, by: Operator, tenant_id: TenantId, version: str | None) -> None:
        """Delete a tenant's document; its balances stay, and its runs end as they would.

        Raises:
            UnknownTenant: there is none.
            VersionChanged: the document is not of this version (any more).
        """
        before = await self._current(tenant_id, version)
        await self.documents.replace(tenant_id, None, before.version)
        self._tell(by, "tenant.delete", tenant_id, before.document or {}, {})

    async def forget_answers(self, by: Operator, tenant_id: TenantId, group_id: GroupId | None = None) -> None:
        """Let no answer that is kept for a cache key be given again, of one group or of all.

        Raises:
            UnknownTenant, UnknownGroup, TenantMisconfigured: in this order.
            VersionChanged: others kept changing the document.
        """
        for attempt in range(_TRIES):
            before = await self.show(tenant_id)
            if group_id is not None and group_id not in groups_of(before):
                raise UnknownGroup(group_id)
            if before.document is None:
                raise TenantMisconfigured
            after = forgetting(before.document, group_id or EVERY_GROUP)
            try:
                await self.documents.replace(tenant_id, after, before.version)
            except VersionChanged:
                if attempt == _TRIES - 1:
                    raise
                continue
            self._tell(by, "cache.forget", tenant_id, before.document, after)
            return

    # --- groups ---------------------------------------------------------------------------------------------------

    async def create_group(
        self, by: Operator, tenant_id: TenantId, group_id: GroupId, group: JsonObject, version: str | None
    ) -> Stored:
        """Add a group to a tenant; raises what ``patch`` does, or GroupExists."""
        before = await self._current(tenant_id, version)
        if group_id in groups_of(before):
            raise GroupExists(group_id)
        groups = {**(before.document or {}).get("groups", {}), group_id: group}
        return await self._write(by, "group.create", before, {**(before.document or {}), "groups": groups})

    async def patch_group(
        self, by: Operator, tenant_id: TenantId, group_id: GroupId, patch: JsonObject, version: str | None
    ) -> Stored:
        """Change what a JSON merge patch of the group names; raises what ``patch`` does, or UnknownGroup."""
        before = await self._current(tenant_id, version)
        group = groups_of(before).get(group_id)
        if group is None:
            raise UnknownGroup(group_id)
        groups = {**(before.document or {}).get("groups", {}), group_id: merge_patch(group, patch)}
        return await self._write(by, "group.change", before, {**(before.document or {}), "groups": groups})

    async def delete_group(self, by: Operator, tenant_id: TenantId, group_id: GroupId, version: str | None) -> Stored:
        """Take a group from a tenant; its users' balances stay. Raises what ``patch`` does, or UnknownGroup."""
        before = await self._current(tenant_id, version)
        if group_id not in groups_of(before):
            raise UnknownGroup(group_id)
        document = dict(before.document or {})
        if "user_groups" in document:
            document["user_groups"] = [named for named in document["user_groups"] if named != group_id]
        if "groups" in document:
            document["groups"] = {name: group for name, group in document["groups"].items() if name != group_id}
        return await self._write(by, "group.delete", before, document)

    # --- steps ----------------------------------------------------------------------------------------------------

    async def _current(self, tenant_id: TenantId, version: str | None) -> Stored:
        stored = await self.show(tenant_id)
        if version is not None and version != stored.version:
            raise VersionChanged
        return stored

    async def _write(self, by: Operator, action: str, before: Stored, document: JsonObject) -> Stored:
        self._require_sound(document, before.document or {})
        if document == before.document:
            return before
        stored = await self.documents.replace(before.id, document, before.version)
        self._tell(by, action, before.id, before.document or {}, document)
        return stored

    def _require_sound(self, document: JsonObject, before: JsonObject | None = None) -> None:
        found = self.flaws(document, before or {})
        if found:
            raise InvalidDocument(found)

    def flaws(self, document: JsonObject, before: JsonObject) -> Sequence[Flaw]:
        """All that is wrong with a document in the place of another; unknown keys that were there are others'."""
        known_before = {flaw.pointer for flaw in self.documents.flaws(before) if flaw.unknown}
        found = [Flaw(pointer(name), "is read-only") for name in READ_ONLY if name in document]
        found += [
            flaw for flaw in self.documents.flaws(document)
            if not (flaw.unknown and flaw.pointer in known_before) and flaw.pointer[1:] not in READ_ONLY
        ]  # fmt: skip
        if not found:
            found = [
                *_without_a_provider(document, self.registry),
                *_without_a_group(document),
                *moved_keys(before, document),
            ]
        return found

    def _tell(self, by: Operator, action: str, tenant_id: TenantId, before: JsonObject, after: JsonObject) -> None:
        changed = tuple(change.pointer for change in changes(before, after))
        self.journal.record(Administered(by.name, action, tenant_id, changed=changed, request_id=by.request_id))


def groups_of(stored: Stored) -> dict[GroupId, JsonObject]:
    """The groups of a document, in whichever of its two forms they are named.

    Raises:
        TenantMisconfigured: the document cannot be read.
    """
    document = stored.document
    named = document.get("user_groups", []) if document is not None else None
    described = document.get("groups", {}) if document is not None else None
    if not isinstance(named, list) or not isinstance(described, dict):
        raise TenantMisconfigured
    return {**{str(group): {} for group in named}, **described}


def _without_a_provider(document: JsonObject, registry: ProviderRegistry) -> list[Flaw]:
    """The places that name a provider which is not registered: each would be found out by a caller."""
    named = [(pointer("default"), document.get("default"))]
    for field in ("api_keys", "provider_options"):
        named += [(pointer(field, name), name) for name in document.get(field) or {}]
    named += [
        (pointer("models", name, "provider"), model["provider"])
        for name, model in (document.get("models") or {}).items()
    ]
    own = document.get("providers") or {}
    missing = ((where, name) for where, name in named if name and name not in registry and name not in own)
    return [Flaw(where, "names no registered provider") for where, _ in missing]


def _without_a_group(document: JsonObject) -> list[Flaw]:
    default = document.get("default_group")
    if not default or default in (document.get("user_groups") or []) or default in (document.get("groups") or {}):
        return []
    return [Flaw("/default_group", "names no group of the tenant")]
