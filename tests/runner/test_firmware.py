"""Images of boards under qemu: they boot, serve a session on their UART, and are small."""

import shutil
import struct
import subprocess

import pytest

from hotloop import runners
from hotloop.errors import ImageError, LinkError, TargetError
from hotloop.image import Image
from hotloop.runtime.remote import RemoteProgram, connect

# data[0] += 1.0f; data[1] = data[0] * data[2], by hand from: Armv7-M ARM, A7.7; RISC-V unprivileged ISA, chapter "F" and "C"
FLOATS_ARM = bytes.fromhex("90ed000a b7ee001a 30ee010a 80ed000a 90ed021a 20ee011a 80ed011a 7047")
# data[0] += 1; data[1] = data[0] + data[2] (integers): ldr r1, [r0]; adds r1, 1; str r1, [r0]; ldr r2, [r0, 8]; adds r1, r1, r2; ...
WHOLE_ARM = bytes.fromhex("0168 0131 0160 8268 8918 4160 7047")
# lw a1, 0(a0); addi a1, a1, 1; sw a1, 0(a0); lw a2, 8(a0); add a1, a1, a2; sw a1, 4(a0); ret
WHOLE_RISCV = struct.pack("<7I", 0x00052583, 0x00158593, 0x00B52023, 0x00852603, 0x00C585B3, 0x00B52223, 0x00008067)
# flw fa0, 0(a0); lui a1, 0x3f800; fmv.w.x fa1, a1; fadd.s fa0, fa0, fa1; fsw fa0, 0(a0); flw fa1, 8(a0); fmul.s fa0, fa0, fa1; ...
FLOATS_RISCV = struct.pack(
    "<9I", 0x00052507, 0x3F8005B7, 0xF00585D3, 0x00B57553, 0x00A52027, 0x00852587, 0x10B57553, 0x00A52227, 0x00008067
)
BOARDS = {
    "mps2-an385": ("arm", "armv7m", WHOLE_ARM),
    "mps2-an386": ("arm", "armv7em", FLOATS_ARM),
    "mps2-an500": ("arm", "armv7em", FLOATS_ARM),
    "virt-riscv32": ("riscv32", "riscv32", WHOLE_RISCV),
    "virt-riscv32f": ("riscv32", "riscv32f", FLOATS_RISCV),
    "virt-riscv64": ("riscv64", "riscv64", FLOATS_RISCV),
}
FLASH_LIMIT = 4096  # bytes of the runner alone on a Cortex-M4F


def qemu(board):
    """The command that runs a board with its UART on standard input and output."""
    system = f"qemu-system-{BOARDS[board][0]}"
    if not shutil.which(system):
        pytest.skip(f"{system} is not installed (Debian: qemu-system-arm, qemu-system-misc)")
    machine = ["virt", "-bios", "none"] if board.startswith("virt") else [board]
    return [system, "-M", *machine, "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel", str(runners.path(board))]


@pytest.fixture
def board(request):
    with connect(qemu(request.param), 60) as connection:
        yield connection


every_board = pytest.mark.parametrize("board", BOARDS, indirect=True, ids=list(BOARDS))


@every_board
def test_a_board_serves_a_remote_program(board, request):
    _, target, code = BOARDS[request.node.callspec.id]
    assert board.target == target
    layout = "<3i" if code in (WHOLE_ARM, WHOLE_RISCV) else "<3f"
    one, half = (1, 5) if layout == "<3i" else (1.0, 0.5)
    combine = (lambda a, b: a + b) if layout == "<3i" else (lambda a, b: a * b)
    program = RemoteProgram(board, Image(target, code, struct.pack(layout, one, 0, half), 0, ()))
    program.run()
    program.run_many(40)
    assert struct.unpack(layout, program.read(0, 12)) == (42, combine(42, half), half)
    steps = ([(0, struct.pack(layout, i, 0, 3)[:4]), (8, struct.pack(layout, i, 0, 3)[8:])] for i in range(20))
    for i, (both,) in enumerate(program.stream(steps, [(0, 8)])):
        assert struct.unpack(layout[:1] + "2" + layout[2:], both) == (i + 1, combine(i + 1, 3))


@pytest.mark.parametrize("board", ["mps2-an386"], indirect=True)
def test_a_large_image_is_loaded_in_pieces_and_a_larger_one_refused(board):
    data = bytes(range(256)) * 3  # a few frames: under load qemu takes a millisecond for each byte
    program = RemoteProgram(board, Image("armv7em", FLOATS_ARM.ljust(601, b"\0"), data, 0, ()))
    assert program.read(0, len(data)) == data
    with pytest.raises(ImageError, match=r"needs 30 bytes of code, 4194304 of data .* has 41\d+ bytes.* share that memory"):
        RemoteProgram(board, Image("armv7em", FLOATS_ARM, bytes(1 << 22), 0, ()))
    with pytest.raises(ImageError, match=r"and 4096 of stack; .* 768 of stack"):
        RemoteProgram(board, Image("armv7em", FLOATS_ARM, data, 0, (), stack=4096))
    with pytest.raises(ImageError, match=r"not aligned"):
        RemoteProgram(board, Image("armv7em", FLOATS_ARM, data, 1, ()))


@pytest.mark.parametrize("board", ["mps2-an386", "virt-riscv64"], indirect=True, ids=["mps2-an386", "virt-riscv64"])
def test_a_program_that_faults_restarts_the_board_and_the_client_is_told(board, request):
    target = BOARDS[request.node.callspec.id][1]
    program = RemoteProgram(board, Image(target, bytes.fromhex("00de" if target == "armv7em" else "0000"), bytes(4), 0, ()))  # udf, illegal
    with pytest.raises(LinkError, match=r"the board at .* has started anew: the program crashed it, or its power failed"):
        program.run()
    with connect(board.link, 60) as again:
        assert again.target == target


@pytest.mark.parametrize("board", ["mps2-an385"], indirect=True)
def test_a_board_refuses_code_that_it_does_not_execute(board):
    with pytest.raises(TargetError, match=r"executes armv7m, the program was compiled for armv7em: Target\(arch='armv7m'"):
        RemoteProgram(board, Image("armv7em", FLOATS_ARM, bytes(12), 0, ()))


@pytest.mark.parametrize("board", ["mps2-an500"], indirect=True)
def test_a_processor_with_more_executes_code_for_one_with_less(board):
    program = RemoteProgram(board, Image("armv7m", WHOLE_ARM, struct.pack("<3i", 1, 0, 9), 0, ()))
    program.run()
    assert struct.unpack("<3i", program.read(0, 12)) == (2, 11, 9)


def test_a_board_on_a_serial_line(tmp_path):
    """The UART is a pseudo-terminal of qemu; the session before it broke off inside a frame."""
    command = [*qemu("mps2-an386")]
    command[command.index("stdio")] = "pty"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            device = next(word for word in process.stdout.readline().split() if word.startswith("/dev/"))
            for _ in range(2):
                with connect(f"serial:{device}", 10) as connection:
                    program = RemoteProgram(connection, Image("armv7em", FLOATS_ARM, struct.pack("<3f", 1, 0, 2), 0, ()))
                    program.run()
                    assert struct.unpack("<3f", program.read(0, 12)) == (2, 4, 2)
                    connection.link.send(bytes.fromhex("e49b0901f401"), 5)  # half a header
        finally:
            process.kill()


def sections(path):
    """The bytes of an ELF file that lie in flash, and those that lie in RAM (System V gABI, program headers)."""
    data, flash, ram = path.read_bytes(), 0, 0
    wide = data[4] == 2
    (start,) = struct.unpack_from("<Q" if wide else "<I", data, 32 if wide else 28)
    size, count = struct.unpack_from("<HH", data, 54 if wide else 42)
    for at in range(start, start + size * count, size):
        kind = struct.unpack_from("<I", data, at)[0]
        in_file, in_memory = struct.unpack_from("<32x2Q" if wide else "<16x2I", data, at)
        if kind == 1:
            flash, ram = flash + in_file, ram + in_memory - in_file
    return flash, ram


@pytest.mark.parametrize("board", BOARDS)
def test_the_runner_alone_is_small(board):
    flash, ram = sections(runners.path(board))
    assert 1024 < flash <= (FLASH_LIMIT if board.startswith("mps2") else 5 * 1024)
    assert ram <= 512 + 1024 + 64  # a frame, the stack, the rest


# mov r1, sp; str r1, [r0]; bx lr
STACK_POINTER = bytes.fromhex("6946 0160 7047")


@pytest.mark.parametrize("board", ["mps2-an386"], indirect=True)
def test_a_program_has_the_stack_that_the_runner_promises(board):
    program = RemoteProgram(board, Image("armv7em", STACK_POINTER, bytes(4), 0, ()))
    program.step([], [])
    ((now,),) = [struct.unpack("<I", program.step([], [(0, 4)])[0])]
    flash = runners.path("mps2-an386").read_bytes()
    (offset,) = struct.unpack_from("<I", flash, struct.unpack_from("<I", flash, 28)[0] + 4)
    (top,) = struct.unpack_from("<I", flash, offset)  # the first word of the vector table
    assert 0 < top - now <= 1024 - board.greeting.stack_limit


def test_names_of_runners():
    assert {*BOARDS, "x86_64", "aarch64", "arm", "riscv64"} <= set(runners.names())
    assert runners.path("armv7a") == runners.path("armv6") == runners.path("arm")
    with pytest.raises(TargetError, match=r"there is no runner for 'z80'. There are: aarch64, arm, mps2-an385"):
        runners.path("z80")
    with pytest.raises(TargetError, match=r"there is no runner for '../data/arm'"):
        runners.path("../data/arm")
