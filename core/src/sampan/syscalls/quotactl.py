"""quotactl_fd(2): limits on the disk usage of a project, which is a number stored with files, see `fsxattr`.

Constants keep their kernel names (include/uapi/linux/quota.h, dqblk_xfs.h). Linux 5.14 and newer.
"""

from __future__ import annotations

import ctypes
import os

FS_QUOTA_PDQ_ENFD = 1 << 5

_SYS_QUOTACTL_FD = 443
_PRJQUOTA = 2
_SUBCMDSHIFT = 8
_Q_XSETQLIM = ord("X") << 8 | 4
_Q_XGETQSTATV = ord("X") << 8 | 8
_FS_QSTATV_VERSION1 = 1
_FS_DQUOT_VERSION = 1
_FS_PROJ_QUOTA = 2
_FS_DQ_BSOFT = 1 << 2
_FS_DQ_BHARD = 1 << 3
_BASIC_BLOCK_BYTES = 512


class _DiskQuota(ctypes.Structure):
    """struct fs_disk_quota, as far as it is used here."""

    _fields_ = (
        ("d_version", ctypes.c_int8),
        ("d_flags", ctypes.c_int8),
        ("d_fieldmask", ctypes.c_uint16),
        ("d_id", ctypes.c_uint32),
        ("d_blk_hardlimit", ctypes.c_uint64),
        ("d_blk_softlimit", ctypes.c_uint64),
        ("unused", ctypes.c_uint8 * 88),
    )


class _QuotaState(ctypes.Structure):
    """struct fs_quota_statv, as far as it is used here."""

    _fields_ = (
        ("qs_version", ctypes.c_int8),
        ("qs_pad1", ctypes.c_uint8),
        ("qs_flags", ctypes.c_uint16),
        ("unused", ctypes.c_uint8 * 156),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint32, ctypes.c_void_p]


def project_quota_flags(fd: int) -> int:
    """Flags of the quotas accounted and enforced on the file system of `fd`. Raises `OSError` if it has none."""
    state = _QuotaState(qs_version=_FS_QSTATV_VERSION1)
    _quotactl_fd(fd, _Q_XGETQSTATV, 0, state)
    return int(state.qs_flags)


def limit_project(fd: int, project: int, size_bytes: int) -> None:
    """Limit the disk usage of `project` on the file system of `fd` to `size_bytes`; 0 means no limit.

    Raises `OSError`.
    """
    blocks = -(-size_bytes // _BASIC_BLOCK_BYTES)
    limits = _DiskQuota(
        d_version=_FS_DQUOT_VERSION,
        d_flags=_FS_PROJ_QUOTA,
        d_fieldmask=_FS_DQ_BSOFT | _FS_DQ_BHARD,
        d_id=project,
        d_blk_hardlimit=blocks,
        d_blk_softlimit=blocks,
    )
    _quotactl_fd(fd, _Q_XSETQLIM, project, limits)


def _quotactl_fd(fd: int, command: int, id: int, answer: ctypes.Structure) -> None:
    if _libc.syscall(_SYS_QUOTACTL_FD, fd, command << _SUBCMDSHIFT | _PRJQUOTA, id, ctypes.byref(answer)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
