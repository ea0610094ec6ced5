"""Measure bulk inspection: workers, Ray's overhead, memory, costs of each stage.

``python benchmarks/scale.py TARGET…``: ``workers`` (1 and 2 processes), ``overhead`` (Ray against
the plain folder run), ``memory`` (100,000 rows), ``stages`` (what one image costs, by stage),
``dispatch`` (what Ray costs per chunk), ``together`` (training in 2 processes against 1), ``gpu``
(a network's throughput on a GPU).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from blemish import Bulk, Detector, inspect_in_bulk, read_image, write_png
from blemish.benchmark import Result
from blemish.datasets.opening import open_dataset
from blemish.exporting.export import export_onnx
from common import main

IMAGES = int(os.environ.get("IMAGES", "600"))
TURNS = int(os.environ.get("TURNS", "3"))
ROWS = int(os.environ.get("ROWS", "100000"))
BUSY = "The machine had other work: ratios say more than times."


def result(what, command, figures, data, **rest):
    return Result(
        what=what,
        command=f"IMAGES={IMAGES} TURNS={TURNS} ROWS={ROWS} python benchmarks/scale.py {command}",
        data={"name": data},
        figures=figures,
        **rest,
    )


def figure(value, label, **more):
    return {"value": float(value), "label": label, **more}


@contextmanager
def part(count=IMAGES, side=256):
    """An exported detector, and a folder of `count` photos of screws of side × side pixels."""
    with tempfile.TemporaryDirectory(prefix="blemish-") as name:
        folder = Path(name)
        data = open_dataset("mvtec_ad", category="screw")
        train = [r for r in data.select("train")][:40]
        detector = Detector("patchcore", image_size=str(side), calibration="split")
        chosen = data.select(keys=[r.key for r in train] + [r.key for r in data.select("test")][:8])
        detector.fit(chosen)
        export_onnx(detector, folder / "part.onnx", data=chosen.select("test"))
        images = [data.image(r) for r in train[:20]]
        for i in range(count):
            write_png(
                folder / f"in/{i:06d}.png",
                images[i % len(images)][:: 1024 // side, :: 1024 // side],
            )
        yield folder


def inspected(folder, out, *words, threads="1"):
    """Seconds of one command line; and of these, of judging, as it says itself."""
    code = "from blemish.cli.main import main; main()"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", folder / "part.onnx", *words, "--out", out],
        env={**os.environ, "OMP_NUM_THREADS": threads, "RAY_BACKEND_LOG_LEVEL": "fatal"},
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, done.stderr


def ray_run(folder, name, workers, chunk):
    """Seconds of judging all images with so many workers, without starting and stopping."""
    code = (
        "import sys, time; from pathlib import Path; import ray; from blemish import Bulk, "
        "inspect_in_bulk\n"
        "ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False, "
        "logging_level='ERROR')\n"
        "folder, name, workers, chunk = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])\n"
        "run = lambda out, n, size: inspect_in_bulk(folder / 'part.onnx', str(folder / 'in'), "
        "str(folder / out), Bulk(workers=n, chunk=size))\n"
        "tally = run(name, workers, chunk)\n"
        "print('SECONDS', tally.seconds)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder, name, str(workers), str(chunk)],
        env={**os.environ, "RAY_BACKEND_LOG_LEVEL": "fatal"},
        capture_output=True,
        text=True,
        check=True,
    )
    whole = float(done.stdout.split("SECONDS")[1])
    files = sorted(p.stat().st_mtime for p in (folder / name).glob("part-*"))
    return whole, files


ALONE = """
import sys, time
from pathlib import Path
from blemish import Detector, read_image
detector, photos = Detector.load(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())
judge = lambda path: detector.predict(read_image(path))
[judge(path) for path in photos[:20]]
print("ready", flush=True)
sys.stdin.readline()
started, count = time.perf_counter(), 0
while time.perf_counter() < started + 10:
    judge(photos[count % len(photos)])
    count += 1
print(count / (time.perf_counter() - started))
"""


def side_by_side(folder, count):
    """Images per second of so many processes that know nothing of each other."""
    command = [sys.executable, "-c", ALONE, folder / "part.onnx", folder / "in"]
    env, pipe = {**os.environ, "OMP_NUM_THREADS": "1"}, subprocess.PIPE
    running = [
        subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) for _ in range(count)
    ]
    for process in running:
        process.stdout.readline()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in running)


def workers():
    """Throughput of two workers against one, in turns on one cluster; starting left out."""
    import ray

    chunk, rates, limit = 40, {1: [], 2: []}, {1: [], 2: []}
    with part() as folder:
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        for turn in range(TURNS):
            for count in (1, 2):
                out = folder / f"out {turn} {count}"
                bulk = Bulk(workers=count, chunk=chunk)
                inspect_in_bulk(folder / "part.onnx", str(folder / "in"), str(out), bulk)
                files = sorted(path.stat().st_mtime for path in out.glob("part-*"))
                # From the first file to the last: what a long run consists of.
                seconds = files[-1] - files[count - 1]
                rates[count].append((len(files) - count) * chunk / seconds)
                limit[count].append(side_by_side(folder, count))
                print(rates, limit, flush=True)
        ray.shutdown()
    ratios, alone = (
        [two / one / 2 for one, two in zip(found[1], found[2], strict=True)]
        for found in (rates, limit)
    )
    figures = {
        "efficiency": figure(
            np.median(ratios),
            "Throughput of 2 workers / (2 × that of 1)",
            values=ratios,
            target="≥ 0.85",
        ),
        "machine": figure(
            np.median(alone),
            "The same of plain processes side by side, without Ray: the machine's own limit",
            values=alone,
        ),
        "images_per_second_1": figure(np.median(rates[1]), "Images/s, 1 worker", values=rates[1]),
        "images_per_second_2": figure(np.median(rates[2]), "Images/s, 2 workers", values=rates[2]),
    }
    notes = [
        "An idle machine; Ray's own processes share its two cores with the workers.",
        f"Chunks of {chunk} images, to which Ray's costs per chunk are large; 256 are usual.",
        "256 × 256 px, filter_bank, one thread per worker; 2 cores.",
    ]
    return result("scale_workers", "workers", figures, "screw_256", method="patchcore", notes=notes)


def overhead():
    """Processor time of the plain folder run and of the run on Ray, for the same images."""
    figures, ratios = {}, []
    with part() as folder:
        for turn in range(TURNS):
            started = os.times()
            inspected(folder, folder / f"plain{turn}.csv", folder / "in", "--csv")
            between = os.times()
            ray_run(folder, f"ray {turn}", 1, 50)
            ended = os.times()
            plain, ray = (
                b.children_user + b.children_system - a.children_user - a.children_system
                for a, b in ((started, between), (between, ended))
            )
            ratios.append(ray / plain)
    figures["share"] = figure(
        np.median(ratios), "Processor time on Ray / of the plain run, start included", values=ratios
    )
    notes = [
        BUSY,
        f"{IMAGES} images, {TURNS} turns; Ray's own processes included; one worker, one thread.",
    ]
    return result(
        "scale_overhead", "overhead", figures, "screw_256", method="patchcore", notes=notes
    )


def memory():
    """Memory of driver and worker over many rows: 200 photos, listed again and again.

    Nineteen of twenty rows name a damaged file: they cost little, and a row each.
    """
    with part(200, side=64) as folder:
        names = sorted((folder / "in").iterdir())
        broken = folder / "broken.png"
        broken.write_bytes(b"broken")
        rows = [broken if i % 20 else names[i // 20 % 200] for i in range(ROWS)]
        (folder / "list.txt").write_text("".join(f"{row}\n" for row in rows))
        code = (
            "import json, sys, threading, time; from pathlib import Path; import ray\n"
            "from blemish import Bulk, inspect_in_bulk\n"
            "ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False, "
            "logging_level='ERROR', object_store_memory=100 * 2**20)\n"
            "seen = []\n"
            "def rss(pid):\n"
            "    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * 4096 / 1e6\n"
            "def look():\n"
            "    while True:\n"
            "        time.sleep(1); row = [rss('self')]\n"
            "        for p in Path('/proc').glob('[0-9]*/cmdline'):\n"
            "            try:\n"
            "                if p.read_bytes().startswith(b'ray::MapWorker'):\n"
            "                    row.append(rss(p.parent.name))\n"
            "            except OSError: pass\n"
            "        seen.append((len(list((folder / 'out').glob('part-*'))), max(row[1:], "
            "default=0), row[0]))\n"
            "folder = Path(sys.argv[1]); threading.Thread(target=look, daemon=True).start()\n"
            "tally = inspect_in_bulk(folder / 'part.onnx', str(folder / 'list.txt'), "
            "str(folder / 'out'), Bulk())\n"
            "print('SEEN', json.dumps([seen, tally.judged + tally.errors]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
        )
        seen, judged = json.loads(done.stdout.split("SEEN")[1])
    chunks = -(-ROWS // 256)
    early = [row for row in seen if 0.1 * chunks < row[0] < 0.3 * chunks]
    late = [row for row in seen if row[0] > 0.8 * chunks]
    figures = {
        "rows": figure(judged, "Rows, of which one of twenty is a photo"),
        "worker_mb": figure(max(r[1] for r in seen), "Largest memory of a worker, MB"),
        "driver_mb": figure(max(r[2] for r in seen), "Largest memory of the driver, MB"),
        "worker_growth_mb": figure(
            np.median([r[1] for r in late]) - np.median([r[1] for r in early]),
            "Worker: last fifth of the rows minus second to third tenth, MB",
        ),
        "driver_growth_mb": figure(
            np.median([r[2] for r in late]) - np.median([r[2] for r in early]),
            "Driver: the same, MB",
        ),
    }
    return result("scale_memory", "memory", figures, "screw_64", method="patchcore", notes=[BUSY])


def stages():
    """Processor time of one image by stage: what the capacity model is made of."""
    with part(60) as folder:
        detector = Detector.load(folder / "part.onnx")
        paths = sorted((folder / "in").iterdir())
        contents = [path.read_bytes() for path in paths]
        figures = {
            "bytes": figure(np.mean([len(c) for c in contents]), "Bytes of an image (PNG, 256 px)"),
            "read_ms": figure(per_item(read_image, contents), "Decoding, ms of processor time"),
        }
        images = [read_image(c) for c in contents]
        judge = per_item(detector.predict, images)
        figures["judge_ms"] = figure(judge, "Judging, ms of processor time")
        from blemish.scale.judging import Judge, Task
        from blemish.scale.results import ResultFolder
        from blemish.scale.sources import cut, list_source
        from blemish.scale.storage import find_place

        out = ResultFolder(find_place(str(folder / "out")))
        judge = Judge(Task((folder / "part.onnx").read_bytes(), "part.onnx"), out)
        files = list_source(find_place(str(folder / "in")), out.listing, 60)
        (chunk,) = cut(files, 60)
        whole = per_item(judge.judge, [chunk] * 3) / 60
        figures["whole_ms"] = figure(whole, "All that a worker does, ms of processor time")
        size = sum(p.stat().st_size for p in (folder / "out").glob("part-*")) / 60
        figures["row_bytes"] = figure(size, "Bytes of a row of results")
    return result("scale_stages", "stages", figures, "screw_256", method="patchcore", notes=[BUSY])


def per_item(action, items):
    action(items[0])
    started = time.process_time()
    for item in items:
        action(item)
    return 1000 * (time.process_time() - started) / len(items)


def dispatch():
    """What Ray costs per chunk, when a chunk is no work."""
    import ray
    import ray.data

    from blemish.scale.cluster import quiet

    count = 300
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    quiet()
    rows = ray.data.from_items([{"number": i} for i in range(count)], override_num_blocks=count)
    pool = ray.data.ActorPoolStrategy(size=1)
    first = 0.0, 0.0
    idle = rows.map_batches(Idle, batch_size=1, compute=pool, num_cpus=1)
    for seen, _ in enumerate(idle.iter_rows(), start=1):
        if seen == count // 10:  # starting left out
            first = time.perf_counter(), time.process_time()
    wall, used = time.perf_counter() - first[0], time.process_time() - first[1]
    ray.shutdown()
    figures = {
        "chunk_ms": figure(
            1000 * used / (0.9 * count), "Handing a chunk out, ms of the driver's processor time"
        ),
        "chunk_wall_ms": figure(1000 * wall / (0.9 * count), "The same, ms of wall time"),
    }
    return result("scale_dispatch", "dispatch", figures, "nothing", notes=[BUSY])


class Idle:
    def __call__(self, batch):
        return batch


TOGETHER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from blemish import Detector, Run
from drawn import plates
method, devices, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
marked = 6 if method in ("aexad", "adtr_plus") else 0
detector = Detector(method, "tiny", calibration="split", device="cpu")
detector.fit(plates(marked=marked), Run(devices=devices)).save(out)
"""


def together():
    """Scores of a detector that two processes trained, against those of one."""
    sys.path.insert(0, "tests")
    from drawn import images, plates

    figures = {}
    with tempfile.TemporaryDirectory(prefix="blemish-") as name:
        script = Path(name) / "fit.py"
        script.write_text(TOGETHER)
        for method in os.environ.get("METHODS", "patchcore vae l2bt adtr aexad").split():
            scores = []
            for devices in (1, 2):
                out = Path(name) / f"{method}{devices}.blemish"
                command = [sys.executable, "-W", "ignore", script, method, str(devices), out]
                subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
                predictions = Detector.load(out).predict(images(plates().select("test")))
                scores.append(np.array([p.score for p in predictions]))
            one, two = scores
            apart = np.abs(one - two).max() / (one.max() - one.min())
            figures[method] = figure(apart, f"{method}: largest difference / range of scores")
    return result("scale_together", "together", figures, "plates", notes=[BUSY])


def gpu():
    """Images per second of a backbone on a GPU, in half precision, from ready tensors."""
    import timm
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    network = timm.create_model("mobilenetv1_100", pretrained=False, features_only=True)
    network = network.eval().to(device, memory_format=torch.channels_last)
    figures = {}
    for batch in (8, 64):
        x = torch.rand(batch, 3, 320, 320, device=device)
        x = x.contiguous(memory_format=torch.channels_last)
        times = []
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            for _ in range(5 if device.type == "cpu" else 60):
                started = time.perf_counter()
                network(x)[-1].float().sum().item()
                times.append(time.perf_counter() - started)
        rate = batch / np.median(times[2:])
        figures[f"images_per_second_{batch}"] = figure(rate, f"Images/s, batch {batch}")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    notes = [f"{name}; mobilenetv1_100 at 320 × 320 (256 and its mirrored border), bfloat16."]
    return result("scale_gpu", "gpu", figures, "noise", notes=notes)


if __name__ == "__main__":
    main({f.__name__: f for f in (workers, overhead, memory, stages, dispatch, together, gpu)})
