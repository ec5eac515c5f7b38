"""rowmax chat: lines from a pipe, and a person at a terminal."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
import unittest

from command import MODEL, PROGRAM, SLOW_MODEL, CommandTest

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
FLAGS = ["chat", "-m", MODEL, "--chat-template", TEMPLATE, "--greedy", "-n", "4"]


class Terminal:
    """The command at a pseudo-terminal."""

    def __init__(self, test, *flags, **env):
        self.test, self.text = test, ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(PROGRAM, [PROGRAM, *FLAGS, *flags], test.environment(**env))
        test.addCleanup(self.close)

    def wait(self, pattern, seconds=60):
        """Waits for new text that matches and forgets everything up to its end."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text)
            if found:
                seen, self.text = self.text[:found.end()], self.text[found.end():]
                return seen
            if time.monotonic() > end:
                self.test.fail(f"no {pattern!r} in {self.text!r}")
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    self.test.fail(f"ended without {pattern!r}: {self.text!r}")

    def prompt(self, seconds=60):
        """Waits for the prompt and for the editor's raw mode: what is typed between the two, the terminal takes for itself."""
        self.wait("> ", seconds)
        self.prompt_mode(seconds)

    def prompt_mode(self, seconds=60):
        end = time.monotonic() + seconds
        while termios.tcgetattr(self.fd)[3] & termios.ICANON:
            if time.monotonic() > end:
                self.test.fail("the editor does not read keys")
            time.sleep(0.005)

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self, keys="\x15\x04", seconds=60):
        """Types keys until the program ends; returns its exit code. Ctrl-U before Ctrl-D: what arrives between the prompt
        and the editor's switch to raw input may stand in the line as another character, and only an empty line ends."""
        end = time.monotonic() + seconds
        next_key = 0
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            try:
                if time.monotonic() >= next_key:
                    self.type(keys)
                    next_key = time.monotonic() + 1
                if select.select([self.fd], [], [], 0.05)[0]:
                    os.read(self.fd, 65536)
            except OSError:
                pass
        self.test.fail("does not end")

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


# A session's leader, as a shell is: runs argv in a process group of its own in the foreground. For each time that this
# ends or stops, it takes the terminal and writes the status to the descriptor; a line from there continues it.
LEADER = """
import os, signal, sys, termios, time
report, order, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
mode = termios.tcgetattr(0)
mode[3] &= ~(termios.ECHOCTL | termios.ECHOE)  # not what an editor would set of itself
termios.tcsetattr(0, termios.TCSANOW, mode)
os.write(report, b"begins 0\\n")
os.read(order, 100)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(argv[0], argv)
os.write(report, b"%d 0\\n" % child)
while True:
    _, status = os.waitpid(child, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        os.write(report, b"ended %d\\n" % os.waitstatus_to_exitcode(status))
        os.read(order, 100)
        sys.exit(0)
    os.write(report, b"stopped %d\\n" % os.WSTOPSIG(status))
    if os.read(order, 100) == b"foreground\\n":
        os.tcsetpgrp(0, child)
    os.kill(child, signal.SIGCONT)
"""


class JobTerminal(Terminal):
    """The command as a shell's job at a pseudo-terminal."""

    def __init__(self, test, *flags, **env):
        self.test, self.text = test, ""
        self.report, report = os.pipe()
        order, self.order = os.pipe()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            for each in (report, order):
                os.set_inheritable(each, True)
            os.execve(sys.executable, [sys.executable, "-c", LEADER, str(report), str(order), PROGRAM, *FLAGS, *flags],
                      test.environment(**env))
        os.close(report)
        os.close(order)
        test.addCleanup(self.close)
        self.all = ""
        self.event()
        self.before = termios.tcgetattr(self.fd)
        os.write(self.order, b"go\n")
        self.child = int(self.event()[0])

    def event(self, seconds=60):
        """Waits for what the leader tells: ("stopped", "20")."""
        end, line = time.monotonic() + seconds, b""
        while not line.endswith(b"\n"):
            if time.monotonic() > end:
                self.test.fail(f"neither ended nor stopped: {self.text!r}")
            if select.select([self.report], [], [], 0.05)[0]:
                line += os.read(self.report, 1)
            self.drain()
        self.drain()
        # A line is drawn twice where two threads learn of one SIGCONT. What was drawn before it stopped is no answer to what
        # is typed when it goes on.
        self.all, self.text = self.all + self.text, ""
        return tuple(line.decode().split())

    def drain(self):
        while select.select([self.fd], [], [], 0)[0]:
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                return

    def check_as_before(self):
        """The settings are the first ones, and pastes are not marked."""
        self.test.assertEqual(termios.tcgetattr(self.fd), self.before)
        self.test.assertEqual(self.marks(), False, self.seen)

    def wait(self, pattern, seconds=60):
        seen = super().wait(pattern, seconds)
        self.all += seen
        return seen

    def marks(self):
        """Whether the terminal marks pastes now."""
        self.drain()
        self.seen = self.all + self.text
        return self.seen.rfind("\x1b[?2004h") > self.seen.rfind("\x1b[?2004l")

    def go_on(self, order=b"foreground\n"):
        os.write(self.order, order)

    def close(self):
        super().close()
        os.close(self.report)
        os.close(self.order)


class Chat(CommandTest):
    def test_refuses_without_a_template(self):
        err = self.fails(4, "chat", "-m", MODEL, stdin="hello\n", says="no chat template")
        self.assertIn("rowmax run", err)

    def test_bad_templates(self):
        self.fails(8, "chat", "-m", MODEL, "--chat-template", "/no/such/file")
        self.fails(3, "chat", "-m", MODEL, "--chat-template", "{% if %}")

    def test_lines_from_a_pipe(self):
        out = self.output(*FLAGS, stdin="one\ntwo\n")
        code, same, err = self.run_command(*FLAGS, stdin="one\n/help\n/nonsense\ntwo\n/exit\nthree\n")
        self.assertEqual((code, same), (0, out))
        self.assertIn("/clear", err)
        self.assertIn("no command /nonsense", err)

    def test_line_ends_and_marks_of_editors_in_a_pipe(self):
        out = self.output(*FLAGS, stdin="one\ntwo\n")
        for text in ("one\r\ntwo\r\n/exit\r\n", "\ufeffone\ntwo", "\ufeffone\r\ntwo\r\n"):
            self.assertEqual(self.output(*FLAGS, stdin=text), out, repr(text))
        # Only there: in a line they are text.
        self.assertNotEqual(self.output(*FLAGS, stdin="one\n\ufefftwo\n"), out)
        block = self.output(*FLAGS, stdin='"""one\ntwo"""\n')
        self.assertEqual(self.output(*FLAGS, stdin='"""one\r\ntwo"""\r\n'), block)

    def test_the_second_turn_comes_from_the_cache(self):
        _, _, err = self.run_command(*FLAGS, stdin="one one one\ntwo\n")
        turns = re.findall(r"prompt (\d+) tokens(?: \((\d+) from cache\))?", err)
        self.assertEqual(len(turns), 2)
        self.assertEqual(turns[0][1], "")
        self.assertGreaterEqual(int(turns[1][1]), int(turns[0][0]) - 1)

    def test_clear_and_system_start_anew(self):
        alone = self.output(*FLAGS, stdin="two\n")
        self.assertTrue(self.output(*FLAGS, stdin="one\n/clear\ntwo\n").endswith(alone))
        briefed = self.output(*FLAGS, "--system", "Be brief", stdin="two\n")
        self.assertTrue(self.output(*FLAGS, stdin="one\n/system Be brief\ntwo\n").endswith(briefed))

    def test_several_lines(self):
        joined = self.run_command(*FLAGS, stdin='"""one\ntwo"""\n')
        again = self.run_command(*FLAGS, stdin="one\\\ntwo\n")
        self.assertEqual((joined[0], joined[1]), (again[0], again[1]))
        self.assertEqual(joined[2].count("prompt "), 1)

    def test_context_full_is_not_the_end(self):
        code, _, err = self.run_command(*FLAGS, "-c", 40, stdin="a" * 300 + "\nhi\n")
        self.assertIn("/clear starts anew", err)
        self.assertIn("stop: ", err)  # of the second line
        self.assertEqual(code, 5)  # but a script is told
        self.assertEqual(self.run_command(*FLAGS, "-c", 40, stdin="a" * 300 + "\nhi\n/exit\n")[0], 5)

    def test_the_first_refusal_of_a_pipe_is_its_exit_code(self):
        refusing = "{% for m in messages %}{% if 'no' in m['content'] %}{{ raise_exception('no') }}{% endif %}{{ m['content'] }}{% endfor %}"
        flags = [*FLAGS, "--chat-template", refusing, "-c", 40]
        self.assertEqual(self.run_command(*flags, stdin="no\n" + "a" * 300 + "\nhi\n")[0], 2)
        self.assertEqual(self.run_command(*flags, stdin="a" * 300 + "\nno\nhi\n")[0], 5)

    def test_a_refusal_is_no_exit_code_at_a_terminal(self):
        terminal = Terminal(self, "-c", "40")
        terminal.prompt()
        terminal.type("a" * 300 + "\r")
        terminal.wait("/clear starts anew")
        terminal.prompt()
        self.assertEqual(terminal.end("/exit\r"), 0)

    def test_a_budget_used_up_ends_the_answer_alone(self):
        flags = ["chat", "-m", SLOW_MODEL, "--chat-template", TEMPLATE, "--greedy", "-n", "-1", "-c", "100000",
                 "--logit-bias", "0=-50,1=-50,2=-50", "--kv-budget", "1"]
        code, out, err = self.run_command(*flags, stdin="go on\n")
        self.assertEqual(code, 0, err)
        self.assertIn("stop: memory: no room for more keys and values (--kv-budget 1 MiB)", err)
        # The answer is part of the conversation: with it the next prompt has no room.
        code, same, err = self.run_command(*flags, stdin="go on\nhi\n/clear\ngo on\n")
        self.assertEqual((code, same.replace("\n", "")), (5, 2 * out.replace("\n", "")))
        self.assertGreater(int(re.search(r"prompt's (\d+) tokens", err)[1]), 512)
        self.assertEqual(err.count("stop: memory"), 2)

    def test_at_a_terminal(self):
        terminal = Terminal(self)
        terminal.prompt()
        terminal.type("first words\r")
        terminal.wait("stop: ")
        terminal.prompt()
        terminal.type("\x1b[A")  # the last input comes back
        terminal.wait("first words")
        terminal.type("\r")
        terminal.wait("stop: ")
        terminal.prompt()
        self.assertEqual(terminal.end(), 0)
        history = self.home / ".local/state/rowmax/chat_history"
        if history.exists():  # with libedit
            self.assertIn("words", history.read_text())
            self.assertEqual(history.stat().st_mode & 0o077, 0)

    SCRIPTS = ("Grüße aus Köln 😀 你好 Привет", "שלום العربية हिन्दी ไทย", "e\u0301 한국어 👩\u200d🚀 ﷽")

    def history(self):
        path = self.home / ".local/state/rowmax/chat_history"
        if not path.exists():
            self.skipTest("built without libedit")
        return path.read_text()

    def terminal_or_skip(self):
        """Skips where the command edits no lines."""
        terminal = Terminal(self)
        terminal.wait("> ")
        self.assertEqual(terminal.end(), 0)
        self.history()

    def test_every_script_arrives_whatever_the_locale(self):
        for env in ({}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "no_SUCH.locale"}, {"LC_ALL": "POSIX", "LANG": "de_DE"}):
            for text in self.SCRIPTS:
                with self.subTest(env=env, text=text):
                    # As many tokens as when the same text comes through a pipe.
                    _, _, err = self.run_command(*FLAGS, stdin=text + "\n")
                    expected = re.search(r"prompt (\d+) tokens", err)[1]
                    terminal = Terminal(self, **env)
                    terminal.prompt()
                    terminal.type(text + "\r")
                    self.assertIn(f"prompt {expected} tokens", terminal.wait("stop: "))
                    terminal.prompt()
                    self.assertEqual(terminal.end(), 0)
        for text in self.SCRIPTS:  # libedit writes a space as \\040
            self.assertIn(text, self.history().replace("\\040", " "))

    def test_a_pasted_text_is_one_message(self):
        _, _, err = self.run_command(*FLAGS, stdin='"""one\n\ttwo ü\nthree"""\n')
        expected = re.search(r"prompt (\d+) tokens", err)[1]
        terminal = Terminal(self)
        terminal.prompt()
        terminal.type("\x1b[200~one\r\ttwo ü\rthree\r\x1b[201~")
        terminal.wait("three")
        time.sleep(0.3)
        self.assertNotIn("stop: ", terminal.text)  # not sent before Enter
        terminal.type("\r")
        self.assertIn(f"prompt {expected} tokens", terminal.wait("stop: "))
        terminal.prompt()
        self.assertEqual(terminal.end(), 0)

    def test_keys_typed_while_an_answer_streams_are_kept(self):
        terminal = Terminal(self, "-m", SLOW_MODEL, "-n", "40", "-c", "100000", "--logit-bias", "0=-50,1=-50,2=-50")
        terminal.prompt()
        terminal.type("go on\r")
        terminal.wait("go on\r?\n.")
        terminal.type("grüße\rhalf")  # a line, and the beginning of one
        terminal.wait("stop: ")
        terminal.wait("stop: ", 120)  # the line was answered too
        terminal.prompt()
        terminal.type(" done\r")
        terminal.wait("stop: ", 120)
        terminal.prompt()
        self.assertEqual(terminal.end("/exit\r"), 0)
        history = self.history().replace("\\040", " ")
        for line in ("grüße\n", "half done\n"):
            self.assertIn(line, history)

    def test_ctrl_c_at_the_prompt_does_not_end_the_chat(self):
        terminal = Terminal(self)
        terminal.prompt()
        terminal.type("half a li")
        terminal.wait("half a li")
        terminal.type("\x03")
        terminal.wait("Ctrl-D or /exit")
        terminal.prompt()
        terminal.type("hello\r")
        terminal.wait("stop: ")
        terminal.prompt()
        self.assertEqual(terminal.end("/exit\r"), 0)

    def test_ctrl_c_stops_the_answer_alone(self):
        terminal = Terminal(self, "-m", SLOW_MODEL, "-n", "-1", "-c", "100000", "--logit-bias", "0=-50,1=-50,2=-50")
        terminal.prompt()
        terminal.type("go on\r")
        terminal.wait("go on\r?\n.")
        terminal.type("\x03")
        terminal.wait("stop: cancelled")
        terminal.prompt()
        self.assertEqual(terminal.end("/exit\r"), 0)

    ENDS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGABRT)

    def test_the_terminal_is_as_before_however_the_chat_ends(self):
        self.terminal_or_skip()
        for paste in ("", "\x1b[200~one\rtwo"):  # in the middle of a paste too
            for number in self.ENDS:
                with self.subTest(number=number, paste=paste):
                    terminal = JobTerminal(self)
                    terminal.prompt()
                    self.assertTrue(terminal.marks())
                    self.assertNotEqual(termios.tcgetattr(terminal.fd), terminal.before)
                    terminal.type("ab" + paste)
                    terminal.wait("ab")
                    os.kill(terminal.child, number)
                    self.assertEqual(terminal.event(), ("ended", str(-number)))
                    terminal.check_as_before()
        for keys in ("/exit\r", "\x04"):
            terminal = JobTerminal(self)
            terminal.prompt()
            terminal.type(keys)
            self.assertEqual(terminal.event(), ("ended", "0"))
            terminal.check_as_before()
        # While it answers the terminal is nobody's editor.
        terminal = JobTerminal(self, "-m", SLOW_MODEL, "-n", "-1", "-c", "100000", "--logit-bias", "0=-50,1=-50,2=-50")
        terminal.prompt()
        terminal.type("go on\r")
        terminal.wait("go on\r?\n.")
        terminal.check_as_before()
        os.kill(terminal.child, signal.SIGTERM)
        self.assertEqual(terminal.event(), ("ended", str(-signal.SIGTERM)))
        terminal.check_as_before()

    def test_a_stopped_chat_gives_the_terminal_back_and_goes_on(self):
        self.terminal_or_skip()
        terminal = JobTerminal(self)
        terminal.prompt()
        terminal.type("first half")
        terminal.wait("first half")
        for number in (signal.SIGTSTP, signal.SIGTSTP, signal.SIGSTOP):
            if number == signal.SIGTSTP:
                terminal.type("\x1a")
            else:
                os.kill(terminal.child, number)
            self.assertEqual(terminal.event(), ("stopped", str(int(number))))
            if number == signal.SIGTSTP:  # nobody sees a STOP come
                terminal.check_as_before()
            terminal.go_on()
            terminal.wait("first half")  # drawn again
            terminal.prompt_mode()
            self.assertTrue(terminal.marks())
        # In the background it leaves the terminal alone: it stops as soon as there is something to read.
        terminal.type("\x1a")
        self.assertEqual(terminal.event()[0], "stopped")
        terminal.go_on(b"background\n")
        terminal.type("\r")
        self.assertEqual(terminal.event(), ("stopped", str(int(signal.SIGTTIN))))
        terminal.check_as_before()
        terminal.go_on()  # and the Enter is its own
        _, _, err = self.run_command(*FLAGS, stdin="first half\n")
        self.assertIn(re.search(r"prompt \d+ tokens", err)[0], terminal.wait("stop: "))
        terminal.prompt()
        terminal.type("/exit\r")
        self.assertEqual(terminal.event(), ("ended", "0"))
        terminal.check_as_before()

    def test_ctrl_c_cancels_a_paste(self):
        self.terminal_or_skip()
        _, _, err = self.run_command(*FLAGS, stdin="hello\n")
        expected = re.search(r"prompt (\d+) tokens", err)[1]
        for rest in ("", "three\rfour\r\x1b[201~"):  # its end mark never comes; or it comes, behind more lines
            with self.subTest(rest=rest):
                terminal = JobTerminal(self)
                terminal.prompt()
                terminal.type("ab\x1b[200~one\rtwo")
                terminal.wait("ab")
                time.sleep(0.1)
                terminal.type("\x03")
                time.sleep(0.05)  # the terminal throws away what comes with it
                terminal.type(rest)
                terminal.wait("Ctrl-D or /exit")
                terminal.prompt()
                self.assertTrue(terminal.marks())
                terminal.type("hello\r")
                answer = terminal.wait("stop: ")
                self.assertIn(f"prompt {expected} tokens", answer)
                self.assertNotRegex(answer, "one|two|three|four")
                terminal.prompt()
                terminal.type("\x1b[200~one\rtwo\x03")
                terminal.wait("Ctrl-D or /exit")
                terminal.prompt()
                terminal.type("/exit\r")
                self.assertEqual(terminal.event(), ("ended", "0"))
                terminal.check_as_before()

    def test_no_color(self):
        terminal = Terminal(self, NO_COLOR="1")
        terminal.prompt()
        terminal.type("hello\r")
        self.assertNotIn("\x1b[2m", terminal.wait("stop: "))
        terminal.prompt()
        terminal.end("/exit\r")
        colourful = Terminal(self)
        colourful.prompt()
        colourful.type("hello\r")
        self.assertIn("\x1b[2m", colourful.wait("stop: "))


class Interrupt(CommandTest):
    def test_run_ends_with_130_and_what_it_has(self):
        child = subprocess.Popen([PROGRAM, "run", "-m", SLOW_MODEL, "--tokens", "5,6,7", "-c", "100000", "--ignore-eos"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment())
        first = child.stdout.read(1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 130, err)
        self.assertTrue(first + out)
        self.assertIn(b"cancelled", err)

    def test_while_reading_the_prompt(self):
        child = subprocess.Popen([PROGRAM, "run", "-m", MODEL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=self.environment())
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        child.wait(timeout=60)
        self.assertIn(child.returncode, (130, -signal.SIGINT))
        child.communicate()


if __name__ == "__main__":
    unittest.main()
