"""The clouds' own SDKs, for clouds.sh and tags.sh: what they put and see.

    clouds.py put CLOUD BUCKET N SEED   N objects with random bytes, many at a
                                        time
    clouds.py sums CLOUD BUCKET         "SHA256  ./KEY" of all of them, in the
                                        order of the keys
    clouds.py tag CLOUD BUCKET KEY... K=V...
                                        each KEY, put where it is not there,
                                        has the tags that follow it, no others

CLOUD is s3, az or gs; the endpoints and keys are those of test/servers.sh.
"""
import hashlib
import os
import random
import sys
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


if __name__ == "__main__":
    what, name, bucket = sys.argv[1:4]
    one_cloud = {"s3": S3, "az": Az, "gs": Gs}[name](bucket)
    if what == "put":
        put(one_cloud, int(sys.argv[4]), sys.argv[5])
    elif what == "tag":
        tag(one_cloud, sys.argv[4:])
    else:
        sums(one_cloud)
