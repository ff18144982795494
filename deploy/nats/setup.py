#!/usr/bin/env python3
"""Makes the stream and the bucket that PrixFixe publishes to. Needs nats-py: `pip install nats-py`.

NATS_URL: the servers, with the user admin; NATS_CA: the file with their certificate authority; REPLICAS: 3 unless set.
"""

import asyncio
import os
import ssl

import nats
from nats.js.api import DiscardPolicy, ObjectStoreConfig, RetentionPolicy, StorageType, StreamConfig

REPLICAS = int(os.environ.get("REPLICAS", "3"))


async def main():
    authority = os.environ.get("NATS_CA")
    tls = ssl.create_default_context(cafile=authority) if authority else None
    servers = os.environ.get("NATS_URL", "nats://127.0.0.1:4222").split(",")
    connection = await nats.connect(servers, tls=tls, allow_reconnect=False)
    stream = connection.jetstream(timeout=30)
    await stream.add_stream(
        StreamConfig(
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
    )
    bucket = ObjectStoreConfig(storage=StorageType.FILE, replicas=REPLICAS)
    await stream.create_object_store("prixfixe", config=bucket)
    print("made: stream MAIL, bucket prixfixe")
    await connection.close()


asyncio.run(main())
