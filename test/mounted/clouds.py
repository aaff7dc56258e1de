"""The clouds' own SDKs, for clouds.sh, tags.sh and the benchmarks: what they
put, what they see, how fast they are.

    clouds.py put CLOUD BUCKET N SEED   N objects with random bytes, many at a
                                        time
    clouds.py sums CLOUD BUCKET         "SHA256  ./KEY" of all of them, in the
                                        order of the keys
    clouds.py tag CLOUD BUCKET KEY... K=V...
                                        each KEY, put where it is not there,
                                        has the tags that follow it, no others
    clouds.py upload CLOUD BUCKET KEY FILE, download CLOUD BUCKET KEY FILE
                                        by the SDK's call for files, all as it
                                        is by default; prints the seconds that
                                        the call took
    clouds.py rm CLOUD BUCKET PREFIX    all objects whose keys begin so

CLOUD is s3, az, gs, or tm, which is gs by its transfer manager; the endpoints
and keys are those of test/servers.sh.
"""
import hashlib
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor

THREADS = 16
SIZES = [0, 1, 700, 3000, 3000, 8000, 20000, 65536, 70000]


class S3:
    def __init__(self, bucket):
        import boto3
        from botocore.config import Config
        self.bucket = bucket
        self.client = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"],
                                   config=Config(
                                       max_pool_connections=THREADS,
                                       s3={"addressing_style": "path"}))

    def keys(self):
        pages = self.client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.bucket):
            for entry in page.get("Contents", []):
                if not entry["Key"].endswith("/"):
                    yield entry["Key"]

    def put(self, key, data):
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def get(self, key):
        return self.client.get_object(Bucket=self.bucket,
                                      Key=key)["Body"].read()

    def rm(self, key):
        self.client.delete_object(Bucket=self.bucket, Key=key)

    def upload(self, key, path):
        self.client.upload_file(path, self.bucket, key)

    def download(self, key, path):
        self.client.download_file(self.bucket, key, path)

    def tag(self, key, tags):
        self.client.put_object_tagging(
            Bucket=self.bucket, Key=key, Tagging={"TagSet": [
                {"Key": k, "Value": v} for k, v in tags.items()]})


class Az:
    def __init__(self, bucket):
        from azure.storage.blob import ContainerClient
        self.client = ContainerClient(os.environ["AZURITE_ENDPOINT"], bucket,
                                      os.environ["AZURE_STORAGE_KEY"])

    def keys(self):
        return list(self.client.list_blob_names())

    def put(self, key, data):
        self.client.upload_blob(key, data, overwrite=True)

    def get(self, key):
        return self.client.download_blob(key).readall()

    def rm(self, key):
        self.client.delete_blob(key)

    def upload(self, key, path):
        with open(path, "rb") as f:
            self.client.upload_blob(key, f, overwrite=True)

    def download(self, key, path):
        with open(path, "wb") as f:
            self.client.download_blob(key).readinto(f)

    def tag(self, key, tags):
        self.client.get_blob_client(key).set_blob_tags(tags)


class Gs:
    def __init__(self, bucket):
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage
        client = storage.Client(
            project="test", credentials=AnonymousCredentials(),
            client_options={"api_endpoint": os.environ["GCS_ENDPOINT"]})
        self.bucket = client.bucket(bucket)
        self.client = client

    def keys(self):
        return [b.name for b in self.client.list_blobs(self.bucket)]

    def put(self, key, data):
        self.bucket.blob(key).upload_from_string(
            data, content_type="application/octet-stream")

    def get(self, key):
        return self.bucket.blob(key).download_as_bytes()

    def rm(self, key):
        self.bucket.blob(key).delete()

    def upload(self, key, path):
        self.bucket.blob(key).upload_from_filename(path)

    def download(self, key, path):
        self.bucket.blob(key).download_to_filename(path)


class Tm(Gs):
    def upload(self, key, path):
        from google.cloud.storage import transfer_manager
        transfer_manager.upload_chunks_concurrently(path,
                                                    self.bucket.blob(key))

    def download(self, key, path):
        from google.cloud.storage import transfer_manager
        transfer_manager.download_chunks_concurrently(self.bucket.blob(key),
                                                      path)


def put(cloud, n, seed):
    rnd = random.Random(seed)
    todo = [(f"part-{i % 10}/some folder/{i // 10:05}.bin", rnd.choice(SIZES),
             rnd.getrandbits(60)) for i in range(n)]
    todo.append(("large.bin", 9 * 1000 * 1000, 1))

    def one(job):
        key, size, own = job
        cloud.put(key, random.Random(own).randbytes(size))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, todo))


def tag(cloud, args):
    there = set(cloud.keys())
    while args:
        key, tags = args.pop(0), {}
        while args and "=" in args[0]:
            k, v = args.pop(0).split("=")
            tags[k] = v
        if key not in there:
            cloud.put(key, key.encode())
        if key in there or tags:
            cloud.tag(key, tags)


def sums(cloud):
    keys = sorted(cloud.keys(), key=lambda k: ("./" + k).encode())
    with ThreadPoolExecutor(THREADS) as pool:
        for key, data in zip(keys, pool.map(cloud.get, keys)):
            print(f"{hashlib.sha256(data).hexdigest()}  ./{key}")


def rm(cloud, prefix):
    for key in list(cloud.keys()):
        if key.startswith(prefix):
            cloud.rm(key)


def seconds(call, key, path):
    start = time.monotonic()
    call(key, path)
    print(time.monotonic() - start)


if __name__ == "__main__":
    what, name, bucket = sys.argv[1:4]
    args = sys.argv[4:]
    one_cloud = {"s3": S3, "az": Az, "gs": Gs, "tm": Tm}[name](bucket)
    if what == "put":
        put(one_cloud, int(args[0]), args[1])
    elif what == "rm":
        rm(one_cloud, args[0])
    elif what == "tag":
        tag(one_cloud, args)
    elif what == "sums":
        sums(one_cloud)
    else:
        seconds(getattr(one_cloud, what), *args)
