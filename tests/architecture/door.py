"""The import-linter contract that a room is entered by its door, its `__init__`."""

from typing import Any

from importlinter import Contract, ContractCheck, fields, output


class DoorContract(Contract):
    """Other rooms may import a room, never what is inside it."""

    root = fields.StringField()
    open_rooms = fields.ListField(subfield=fields.StringField(), required=False)

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        """Look at every import of a module inside a room."""
        broken = [
            (importer, imported)
            for imported in sorted(graph.modules)
            if self._is_inside(imported)
            for importer in graph.find_modules_that_directly_import(imported)
            if self._room(importer) not in {self._room(imported), None}
        ]
        return ContractCheck(kept=not broken, metadata={"broken": sorted(broken)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Name each import that went past the door."""
        for importer, imported in check.metadata["broken"]:
            output.print_error(f"{importer} imports {imported}, which is inside a room.")

    def _is_inside(self, module: str) -> bool:
        room = self._room(module)
        return room not in {None, module, *(self.open_rooms or [])}

    def _room(self, module: str) -> str | None:
        parts = module.split(".")
        return ".".join(parts[:2]) if parts[0] == self.root and len(parts) > 1 else None
