"""How the load program is called, known here only: leveret-perf, one run, one JSON object."""
import json
import subprocess

from brokers import find_program

PROGRAM = find_program('leveret-perf', 'LEVERET_PERF')
REPORT = ['--json', '-', '--quiet']


def command(server, options):
    return [PROGRAM, '--port', str(server.port), '--server-pid', str(server.pid),
            '--data-dir', server.data_dir, *options.split(), *REPORT]


def result(status, output, errors):
    """The run's report; a run that failed is {'error': reason}."""
    if status:
        lines = errors.strip().splitlines()
        return {'error': lines[0] if lines else f'the load program ended with status {status}'}
    return json.loads(output)


def run(server, options, bound_s=1800):
    try:
        done = subprocess.run(command(server, options), capture_output=True, text=True,
                              timeout=bound_s)
    except subprocess.TimeoutExpired:
        return {'error': f'no end within {bound_s} s'}
    return result(done.returncode, done.stdout, done.stderr)


def start(server, options):
    """A run in the background: finish() has its report."""
    return subprocess.Popen(command(server, options), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(process):
    output, errors = process.communicate()
    return result(process.returncode, output, errors)


def measure_sync(directory):
    done = subprocess.run([PROGRAM, '--measure-sync', directory, '--size', '4096', *REPORT],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout)['sync_us']
