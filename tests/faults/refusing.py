"""Takes a process the right to start processes, or threads too, by a filter in the kernel."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

NUMBERS = {
    # clone, clone3, and what only starts processes
    "x86_64": (56, 435, (57, 58)),
    "aarch64": (220, 435, ()),
}
CLONE_THREAD = 0x10000
LOAD, JUMP_IF_EQUAL, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW = 0x7FFF0000
DENY = 0x00050000
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(what: str) -> None:
    """Let starting fail from now on: of ``processes``, or of ``processes and threads``.

    The C library starts both by clone3, and by clone where there is none: whose first argument is
    looked at. Source: seccomp(2), linux/filter.h.
    """
    clone, clone3, others = NUMBERS[platform.machine()]
    threads_too = what == "processes and threads"
    rules = [(LOAD, 0, 0, NUMBER_AT)]
    for number, verdict in [
        *((other, DENY | errno.EPERM) for other in others),
        (clone3, DENY | errno.ENOSYS),
        *([(clone, DENY | errno.EAGAIN)] if threads_too else []),
    ]:
        rules += [(JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, verdict)]
    rules += [
        (JUMP_IF_EQUAL, 0, 3, clone),
        (LOAD, 0, 0, FIRST_ARGUMENT_AT),
        (JUMP_IF_SET, 1, 0, CLONE_THREAD),
        (RETURN, 0, 0, DENY | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    program = _Program(len(rules), code)
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
