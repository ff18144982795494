#!/usr/bin/env python3
"""Makes the stream and the bucket that PrixFixe publishes to. Needs nats-py: `pip install nats-py`.

NATS_URL: the servers, with the user admin. NATS_CA: the file with their certificate authority. REPLICAS: 3 unless set.
MAX_BYTES: of the stream, 10 GiB unless set; each server needs so much free space.
"""

import asyncio
import os
import ssl

import nats
import nats.js.errors
from nats.js.api import DiscardPolicy, ObjectStoreConfig, RetentionPolicy, StorageType, StreamConfig

REPLICAS = int(os.environ.get("REPLICAS", "3"))


async def main():
    authority = os.environ.get("NATS_CA")
    tls = ssl.create_default_context(cafile=authority) if authority else None
    servers = os.environ.get("NATS_URL", "nats://127.0.0.1:4222").split(",")
    connection = await nats.connect(servers, tls=tls, allow_reconnect=False)
    stream = connection.jetstream(timeout=30)
    config = StreamConfig(
        name="MAIL",
        subjects=["mail.>"],
        storage=StorageType.FILE,
        num_replicas=REPLICAS,
        # A message is gone when the application has acknowledged it.
        retention=RetentionPolicy.WORK_QUEUE,
        # A full stream says no, and mail waits at its sender's.
        discard=DiscardPolicy.NEW,
        max_bytes=int(os.environ.get("MAX_BYTES", str(10 << 30))),
        # A client that missed its 250 sends again, hours later too.
        duplicate_window=24 * 3600,
    )
    for attempts_left in reversed(range(30)):
        try:
            await stream.add_stream(config)
            break
        except nats.js.errors.APIError:
            # Servers that have just started do not know all others yet.
            if attempts_left == 0:
                raise
            await asyncio.sleep(1)
    bucket = ObjectStoreConfig(storage=StorageType.FILE, replicas=REPLICAS)
    await stream.create_object_store("prixfixe", config=bucket)
    print("made: stream MAIL, bucket prixfixe")
    await connection.close()


asyncio.run(main())
