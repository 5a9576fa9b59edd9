"""What the cases of run.py share: figures of several runs, and the machine that they run on."""
import mmap
import resource
import statistics

median = statistics.median


def medians(figures):
    return {k: median(f[k] for f in figures) for k in figures[0]}


def touch_memory(megabytes=3000):
    """A virtual machine's host takes free memory away and gives it back page by page: 2 to 4 us a KiB at the first touch, which is more
    than a broker's whole work on a record. So who comes first would pay for it; this has free memory there for everybody."""
    mmap.mmap(-1, megabytes << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def clients_cpu_seconds():
    """Of the programs that this one has run and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
