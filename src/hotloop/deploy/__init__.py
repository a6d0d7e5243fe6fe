"""Files for machines where no hotloop is: executables, firmware, code to link, MicroPython modules."""

from hotloop.deploy.forms import FORMS, Form, export

__all__ = ["FORMS", "Form", "export"]
