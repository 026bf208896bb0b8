"""Makes Filoscope's model folders: converts, quantizes and inspects them, and writes reference results."""


class QuantizationError(Exception):
    """What the user can mend: the message names the file, the tensor or field, and the limit."""
