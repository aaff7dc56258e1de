"""A large file to and from each cloud, beside that cloud's own SDK, which does
it by its call for files with everything as it is by default (clouds.py)."""
import os

from bench import case
from mounts import GNSFS
from work import MIB, read_all, sh, timed, write_all

CLOUDS = os.path.dirname(__file__) + "/../mounted/clouds.py"
BUCKET = "bench"


def home(b, cloud, prefix):
    """URL of a folder of the bucket."""
    path = f"{BUCKET}/{prefix}"
    return {
        "s3": f"s3://{path}?endpoint={b.m.endpoint}&region=us-east-1",
        "az": f"az://{os.environ['AZURE_STORAGE_ACCOUNT']}/{path}"
              f"?endpoint={os.environ['AZURITE_ENDPOINT']}",
        "gs": f"gs://{path}?endpoint={os.environ['GCS_ENDPOINT']}"}[cloud]


def sdk(what, cloud, *args):
    """What it says."""
    return sh(os.environ["SDK_PYTHON"], CLOUDS, what, cloud, BUCKET, *args,
              text=True).stdout


def source(b, size):
    path = f"{b.disk}/source.bin"
    if not os.path.exists(path) or os.path.getsize(path) != size:
        write_all(path, size)
    read_all(path)
    return path


class Uploads:
    """Of one file to a cloud; each sample leaves nothing there."""
    def __init__(self, b, cloud, path):
        self.b, self.cloud, self.path = b, cloud, path
        self.mib = os.path.getsize(path) / MIB
        self.n = 0

    def sdk(self, client):
        t = float(sdk("upload", client, "up.bin", self.path))
        sdk("rm", self.cloud, "up.bin")
        os.sync()
        return [self.mib / t] * 2

    def gnsfs(self):
        """From when all of it is on the local disk, and from cp's begin."""
        b = self.b
        self.n += 1
        name = f"up-{self.cloud}-{self.n}"
        d = b.m.gnsfs(name, home=home(b, self.cloud, name))
        cp = timed(lambda: sh("cp", self.path, f"{d}/up.bin"))
        t = timed(lambda: sh(GNSFS, "sync", d))
        b.m.gnsfs_umount(d, drop=True)
        sdk("rm", self.cloud, name + "/")
        os.sync()
        return [self.mib / t, self.mib / (cp + t)]


class Downloads:
    """Of one object of a cloud, from nothing."""
    def __init__(self, b, cloud, path):
        self.b, self.cloud = b, cloud
        self.size = os.path.getsize(path)
        sdk("upload", cloud, "lake/down.bin", path)
        os.sync()
        name = f"down-{cloud}"
        self.dir = b.m.gnsfs(name, home=home(b, cloud, name))
        sh(GNSFS, "import", home(b, cloud, "lake"), f"{self.dir}/lake")
        self.mine = f"{self.dir}/lake/down.bin"

    def sdk(self, client):
        to = f"{self.b.disk}/down.bin"
        t = float(sdk("download", client, "lake/down.bin", to))
        os.unlink(to)
        os.sync()
        return self.size / MIB / t

    def gnsfs(self):
        sh(GNSFS, "evict", self.mine)
        os.sync()
        return self.size / MIB / timed(lambda: read_all(self.mine))

    def done(self):
        self.b.m.gnsfs_umount(self.dir, drop=True)
        sdk("rm", self.cloud, "")


def beside(b, cloud, server, clients, mib=2048):
    """clients: contender -> the SDK's name in clouds.py, uploads too?"""
    size = b.size(mib) * MIB
    path = source(b, size)
    b.say(f"  a file of {size // MIB} MiB; the server is {server}")
    up = Uploads(b, cloud, path)
    contenders = {n: lambda c=c: up.sdk(c)
                  for n, (c, uploads) in clients.items() if uploads}
    first = next(iter(clients))
    m, whole = b.run(["upload, of bytes on the local disk",
                      "upload, cp into the mount and sync"], "MiB/s",
                     {**contenders, "gnsfs": up.gnsfs})
    b.against(m, first, 0.8, what="upload: ")
    b.against(whole, first, what="upload, with cp: ")
    down = Downloads(b, cloud, path)
    m = b.run("download into a file, or cold read", "MiB/s",
              {**{n: lambda c=c: down.sdk(c) for n, (c, _) in clients.items()},
               "gnsfs": down.gnsfs}, touch=2 * size)
    for n in clients:
        b.against(m, n, 0.8 if n == first else None, what="download: ")
    down.done()
    os.unlink(path)


@case("sdk", "gnsfs / boto3 at least 0.8 each", name="sdk-s3")
def sdk_s3(b):
    """upload and download of a file of 2 GiB, beside boto3"""
    os.makedirs(f"{b.m.objects}/{BUCKET}", exist_ok=True)
    beside(b, "s3", "versitygw", {"boto3": ("s3", True)})


@case("sdk", "gnsfs / azure-storage-blob at least 0.8 each", name="sdk-az")
def sdk_az(b):
    """the same on Azure, beside azure-storage-blob"""
    beside(b, "az", "Azurite", {"azure-storage-blob": ("az", True)})


@case("sdk", "gnsfs / google-cloud-storage at least 0.8 each", name="sdk-gs")
def sdk_gs(b):
    """the same on Google Cloud, beside google-cloud-storage and its transfer
    manager"""
    beside(b, "gs", "fake-gcs-server, whose objects are in memory",
           {"google-cloud-storage": ("gs", True),
            "transfer_manager": ("tm", False)})
