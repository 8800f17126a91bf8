"""The commands of the course, and the `stagelens` command with all commands."""

from __future__ import annotations

from stagelens import cli

COMMANDS = {
    "lab": "stagelens_course.cli.lab:lab_command",
    "run": "stagelens_course.cli.lesson:run_command",
    **{name: cli.COMMANDS[name] for name in ("build", "explore", "why")},
    "up": "stagelens_course.cli.applications:up_command",
    "status": "stagelens_course.cli.applications:status_command",
    "logs": "stagelens_course.cli.applications:logs_command",
    "down": "stagelens_course.cli.applications:down_command",
    "exercise": "stagelens_course.cli.exercise:exercise_group",
    "check": "stagelens_course.cli.exercise:check_command",
    "grade": "stagelens_course.cli.grade:grade_command",
    "images": "stagelens_course.cli.images:images_command",
    **{name: cli.COMMANDS[name] for name in ("engine", "env")},
    "doctor": "stagelens_course.cli.doctor:doctor_command",
    "test": "stagelens_course.cli.testing:test_command",
    "docs": "stagelens_course.cli.documentation:docs_command",
}
app = cli.command_line(COMMANDS)


def main() -> None:
    """Run the command line with the commands of the library and of the course."""
    cli.main(app)
