"""rowmax chat: lines from a pipe, and a person at a terminal."""
import os
import pty
import re
import select
import signal
import subprocess
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
        self.assertEqual(code, 0)
        self.assertIn("/clear starts anew", err)

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
