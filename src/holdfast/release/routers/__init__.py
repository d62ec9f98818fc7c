"""Adapters to what sends requests to versions, one file each."""

from holdfast.release.routers.documents import DocumentRouter
from holdfast.release.routers.files import FileRouter
from holdfast.release.routers.gateway import GatewayRouter
from holdfast.release.routers.haproxy import HAProxyRouter
from holdfast.release.routers.haproxy_config import first_files, haproxy_config
from holdfast.release.routers.memory import MemoryRouter
from holdfast.release.routers.nginx import NginxRouter
from holdfast.release.routers.opening import open_router

__all__ = [
    "DocumentRouter",
    "FileRouter",
    "GatewayRouter",
    "HAProxyRouter",
    "MemoryRouter",
    "NginxRouter",
    "first_files",
    "haproxy_config",
    "open_router",
]
