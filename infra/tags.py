"""The tags that everything carries: which project and which stack it belongs to, and its name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tags:
    """Makes the tags of one stack's resources."""

    project: str
    stack: str

    def named(self, name: str) -> dict[str, str]:
        """The tags of the resource of that name within the stack."""
        return {"Project": self.project, "Stack": self.stack, "Name": f"{self.project}-{self.stack}-{name}"}
