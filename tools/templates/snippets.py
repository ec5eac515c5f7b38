"""Small templates that pin down the language; their expected output is rendered by jinja2."""

GLOBALS = {
    "n": 7, "f": 2.5, "s": "Hello World", "u": "naïve 世界", "e": "", "t": True, "z": None,
    "list": [3, 1, 2], "words": ["b", "A", "c", "a"], "d": {"x": 1, "items": 2, "y": "two", "_p": 3},
    "people": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25, "tags": []},
               {"name": "Cy", "age": 30}],
    "deep": {"a": {"b": [{"c": "found"}]}}, "quotes": "it's \"so\" \\ \n\t\u0001\u00a0é", "bos_token": "<s>",
    "lines": "one\ntwo\r\n\nthree\u2028four", "spaces": " \t\u3000mid dle\u00a0\n",
    "floats": [1.0, 0.1, 1e16, 1e-5, 123456789.125, -0.0, 1e22, 5e-324, 0.0001, 1e15],
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}],
}

_EXPRESSIONS = r"""
1 + 2 * 3
(1 + 2) * 3
7 // 2 ~ ' ' ~ -7 // 2 ~ ' ' ~ 7 % 3 ~ ' ' ~ -7 % 3 ~ ' ' ~ 7 % -3
7 / 2
6 / 3
2 ** 10
2 ** 3 ** 2
-2 ** 2
7.5 // 2
-7.5 % 2
1 / 0
1 % 0
1e3
1_000 + 0
0.1 + 0.2
10 ** 18
f * 2
floats
true + 1
1 < 2 < 3
1 < 3 < 2
1 == 1.0
true == 1
'1' == 1
1 < 'a'
'a' < 'b'
[1, 2] < [1, 3]
[1, 2] == [1, 2]
(1, 2) == [1, 2]
{'a': 1} == {'a': 1.0}
none == false
not true
not n == 7
not not n
n and s
e or 'other'
z or 0 or []
1 if t else 2
1 if not t
(1 if not t) is defined
'a' 'b'
'a' ~ 1 ~ none ~ true ~ 1.5 ~ [1, 'x'] ~ missing
'a' + 'b'
'a' + 1
'ab' * 3
[1, 2] * 2
[1] + [2]
(1,) + (2,)
(1,)
()
[]
{}
{'a': 1, 'b': [true, none], 3: 'x'}
{'a': 1, 'a': 2}
[quotes]
quotes
"it's"
["it's"]
['say "x"']
['\'"']
'\x41\u00e9\U0001F642\n\t\\\q\101'
[u, '\u200b', '\ue000', '\U0001F642']
s[0] ~ s[-1] ~ s[99]
s[1:4]
s[::-1]
s[-5:]
s[10:2:-2]
s[:0]
u[6:]
u[::-1]
list[::-1]
list[1:]
list[-1]
list[5]
list[5] is defined
list[0:3:2]
list[::0]
missing[1:]
z[1:]
d.x
d['x']
d['items']
d.nothing
d.nothing.more
missing.x
missing
missing is defined
missing|default('dflt')
e|default('dflt')
e|default('dflt', true)
z|default('dflt')
z|d('dflt', boolean=true)
z.x
z.x.y
n.x
list.x
d._p
deep.a.b[0].c
deep['a']['b'].0.c
d.get('x')
d.get('q')
d.get('q', 5)
d.keys()|list
d.values()|list
d.items()
d.items()|list
d|items|list
list|items|list
missing|items|list
d|length
s|length
u|length
z|length
missing|length
n|length
list|first
list|last
[]|first
[]|first is defined
s|first
s|last
list|sort
words|sort
words|sort(case_sensitive=true)
words|sort(reverse=true)
people|sort(attribute='age')|map(attribute='name')|list
[1, 'a']|sort
list|reverse|list
s|reverse
list|min ~ list|max
words|min ~ words|max
[]|min
list|sum
people|sum(attribute='age')
[[1], [2]]|sum(start=[])
words|unique|list
words|unique(case_sensitive=true)|list
[1, 1, 2, 1]|unique|list
list|join
list|join(', ')
people|join('; ', attribute='name')
s|join('-')
[1, none, 'x']|join(',')
z|join
people|map(attribute='name')|list
people|map(attribute='tags.0')|list
people|map(attribute='tags', default='none')|list
words|map('upper')|list
words|map('replace', 'a', 'z')|list
people|selectattr('tags')|map(attribute='name')|list
people|selectattr('age', 'equalto', 30)|map(attribute='name')|list
people|selectattr('age', '>', 26)|list|length
people|rejectattr('tags', 'defined')|map(attribute='name')|list
list|select('odd')|list
list|select('>', 1)|list
list|reject('in', [1, 2])|list
[0, 1, '', 'a', none]|select|list
list|select('odd')|length
d|dictsort
{'b': 1, 'A': 3, 'c': 2}|dictsort
{'b': 1, 'A': 3, 'c': 2}|dictsort(true)
{'b': 1, 'A': 3, 'c': 2}|dictsort(by='value')
{'b': 1, 'A': 3, 'c': 2}|dictsort(reverse=true)
s|upper ~ s|lower ~ 'hello wORLD'|title ~ 'hELLO wORLD'|capitalize
'straße ǆ ÿ'|upper
'ÀÉÎÕÜ ЖДЯ ΑΒΓ ĀĂĄ'|lower
'naïve élan'.upper()
'x-y (z) <w> it\'s'|title
'hello world'.capitalize()
spaces|trim
'xxhixx'|trim('x')
'xyhiyx'.strip('xy')
'  hi '.lstrip() ~ '|'
'  hi '.rstrip() ~ '|'
'世界hi世'.strip('世')
'a,b,,c'.split(',')
'a,b,,c'.split(',', 1)
' a  b c '.split()
' a  b c '.split(none, 1)
'abc'.split('')
'a,b,c'.rsplit(',', 1)
lines.splitlines()
lines.splitlines(true)
'a=b=c'.partition('=')
'abc'.partition('=')
'abc'.startswith('ab') ~ 'abc'.endswith(('x', 'c')) ~ 'abc'.startswith(('x', 'y'))
'abc'.removeprefix('ab') ~ 'abc'.removesuffix('bc')
'aXbXc'.replace('X', '-')
'aXbXc'.replace('X', '-', 1)
'abc'.replace('', '-')
'aXbXc'|replace('X', '')
12321|replace(2, 'x')
'hello'.find('l') ~ 'hello'.find('z') ~ 'hello'.rfind('l') ~ 'hello'.count('l') ~ 'hello'.index('e')
'世界'.find('界')
'hello'.index('z')
', '.join(['a', 'b'])
', '.join([1])
'12'.isdigit() ~ 'a1'.isalnum() ~ 'ab'.isalpha() ~ ''.isdigit() ~ ' \t'.isspace()
'abc'.islower() ~ 'ABC'.isupper() ~ '1'.islower() ~ 'aB'.islower()
'%s is %d' % ('x', 5)
'%5.1f|%-5s|%05d|%+d' % (2.25, 'ab', 42, 3)
'%s' % 'one'
'%s %s' % ('one',)
'%s' % ('a', 'b')
'%(a)s' % {'a': 1}
'100%%' % ()
'%s' % [1, 2]
'%r' % 'q'
"%s-%s"|format(1, 'b')
'{} {}'.format('a', 1)
'{1}{0}{x}'.format('a', 'b', x='c')
'{{}}'.format()
'{}'.format()
'{0.__class__}'.format(1)
n|string ~ 'x'
'42'|int + 1
' 42 '|int
'4.9'|int
'x'|int
'x'|int(-1)
3.9|int
z|int
'2.5'|float
'x'|float
3|float
2.5|round
3.5|round
2.675|round(2)
2.1|round(1, 'ceil')
2.19|round(1, 'floor')
5|round
-3|abs ~ -3.5|abs
'a\nb\n\nc'|indent
'a\nb\n\nc'|indent(2, true)
'a\nb\n\nc'|indent(2, first=true, blank=true)
'a\nb'|indent('> ')
'a\n'|indent
5|indent
'<a href="x">\'&'|e
('<b>'|safe) + '<c>'
'<c>' + ('<b>'|safe)
('<b>'|safe) ~ '<c>'
'<b>'|safe|e
d|tojson
people|tojson(indent=2)
[]|tojson(indent=2)
{}|tojson(indent=2)
[[], {}]|tojson(indent=4)
quotes|tojson
u|tojson(ensure_ascii=true)
'🙂'|tojson(ensure_ascii=true)
floats|tojson
{'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true)
{1: 2, none: 3, true: 4}|tojson
[1, 2]|tojson(separators=(',', ':'))
(1, 2)|tojson
missing|tojson
d.items()|tojson
(d|items)|tojson
'a' in s
'ell' in s
'z' not in s
1 in list
1 in 'abc'
'x' in d
5 in d
'a' in missing
'a' in z
1 in [true]
d is mapping
d is iterable
d is sequence
d.items() is sequence
d.items() is iterable
s is string
s is iterable
s is sequence
n is number
t is number
f is number
t is boolean
n is boolean
n is integer
t is integer
f is float
z is none
missing is none
missing is undefined
t is true
n is true
t is false
missing is iterable
n is iterable
n is odd
n is even
n is divisibleby 7
n is divisibleby(3)
n is eq 7
n is ne 7
n is gt 6 and n is lt 8
n is ge 7
n is le 6
n is in [7, 8]
n is not in [7]
n is sameas n
'abc' is lower
'ABC' is upper
n is not string
range is callable
s is callable
missing is callable
'upper' is filter
'odd' is test
'nope' is filter
range(5)|list
range(2, 5)|list
range(5, 0, -2)|list
range(0)|list
range(3)[1]
range(100001)
range(1, 2, 0)
dict(a=1, b='x')
dict({'a': 1}, b=2)
namespace(a=1).a
namespace({'a': 5}).a
namespace(a=1).b
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y, %B %A %a %H:%M:%S %j %y %I %p %e %%')
strftime_now('%-d %-m %F %T')
raise_exception('no ' ~ n)
s.nope
s.nope()
missing()
n()
[1, 2].append(3)
d.update({'a': 1})
d.pop('x')
list.sort()
[1, 2, 2].count(2) ~ [1, 2].index(2)
[1, 2].index(9)
''.__class__
d['__class__']
s|nofilter
s is notest
-n
+n
-s
- 3 + 5
[1, 2, 3,]
{'a': 1,}
(1, 2,)
1 2
1 +
[1
{'a'}
'unclosed
a.b.
@
s | upper | lower
s.split(' ')[0].upper()
(s ~ '!')|upper
n ~ n + 1
s if s is string else 'no'
d.x if d is mapping and d.x is defined else 'no'
[x for x in list]
none is none and true
'x' if none else ('y' if none else 'z')
not missing
1 and missing is not defined
'%d%%' % 50
loop
loop is defined
self is defined
[missing]
[1.0, true, none]
{'k': missing}
'\u00e9' == 'é'
'a' < 'B'
[none, 1]|first
[[1, 2], [3]]|map('length')|list
[[1, 2], [3]]|map('first')|list
{'a': 1}.items()|map('first')|list
people|map(attribute='name')|map('upper')|join(',')
people|selectattr('name', 'in', ['Ann', 'Cy'])|map(attribute='age')|sum
d.items()|list|length
d.items()|length
d.keys()|first
d.values()|join('|')
d|list
d|first
d|join(',')
d|string
0x10
"a" if 1 is string else "b"
'a'.b is defined
z is not none
'a,b'|replace(',', '\n')
('a' ~ 'b') * 2
true|string
none|string|length
1.0|string
1.5|int|string
'abc'[1:]|upper
'abc'|list
'é'|list|length
""|length == 0
"x" ~ "" ~ missing|default("") ~ z
list == [3, 1, 2]
list is sameas list
n > 5 and n < 10 or false
n in (7, 8)
d.x == 1 and d['y'] == 'two'
messages[-1]['role']
messages[-1].content
messages[:-1]|length
messages|selectattr('role', 'equalto', 'user')|list|length
messages|selectattr("role", "eq", "user")|map(attribute="content")|first
messages|map(attribute='content')|join(' ')
"""

_TEMPLATES = [
    "{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}"
    "{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for x in list %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in list %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in [] %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in z %}{{ x }}{% endfor %}",
    "{% for x in n %}{{ x }}{% endfor %}",
    "{% for c in u %}[{{ c }}]{% endfor %}",
    "{% for k in d %}{{ k }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }}={{ v }} {% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for x in list if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% else %}none{% endfor %}",
    "{% for x in list if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in list %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in list %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in list %}{% for y in list %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% break %}",
    "{% for x in list %}{% for y in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% set x = 1 %}{% for i in list %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=1) %}{% for i in list %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.q = 5 %}{{ ns.q }}{{ ns.r }}",
    "{% set d.x = 5 %}",
    "{% set q.x = 5 %}",
    "{% if n == 7 %}a{% elif n == 8 %}b{% else %}c{% endif %}",
    "{% if n == 1 %}a{% elif n == 7 %}b{% else %}c{% endif %}",
    "{% if n == 1 %}a{% elif n == 2 %}b{% else %}c{% endif %}",
    "{% if missing %}a{% endif %}b",
    "{% if t %}{% set y = 1 %}{% endif %}{{ y }}",
    "{% if not t %}{% set y = 1 %}{% endif %}{{ y }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set x %}hello {{ n }}{% endset %}[{{ x }}]",
    "{% set x | upper %}hello {{ n }}{% endset %}[{{ x }}]",
    "{% set x | replace('l', 'L') | trim %} hello {% endset %}[{{ x }}]",
    "{% filter upper %}a{{ s }}b{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}aaa{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
    "{% with a = n %}{% with n = 1 %}{{ a }}{{ n }}{% endwith %}{{ n }}{% endwith %}",
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=3) }} {{ m(b=1, a=0) }} {{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(q=2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}",
    "{% macro m() %}{% set s = 'in' %}{{ s }}{% endmacro %}{{ m() }}{{ s }}",
    "{% macro m() %} a {% endmacro %}[{{ m()|trim }}]",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body {{ n }}{% endcall %}",
    "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{% for i in list %}{{ m(i) }}{% endfor %}",
    "{% for i in list %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}b{% endmacro %}{{ a() }}",
    "{% macro m() %}{{ loop }}{% endmacro %}{% for i in list %}{{ m() }}{% endfor %}",
    "{% raw %}{{ not }} {% if %}{% endraw %}x",
    "a {%- raw -%} {{ b }} {%- endraw -%} c",
    "{# comment {{ n }} #}x{#- c -#} y",
    "a\n{# c #}\nb",
    "a\n  {% if t %}\n  b\n  {% endif %}\nc\n",
    "a\n  {%- if t %}\n  b\n  {%- endif %}\nc\n",
    "a\n  {% if t -%}\n  b\n  {% endif -%}\nc\n",
    "a\n  {%+ if t %}\n  b\n  {%+ endif +%}\nc\n",
    "a  {% if t %}b{% endif %}  c",
    "a\n  {{ n }}\n  {{- n -}}\n  b",
    "a \n\n {{- n }} \n\n",
    "x\r\ny\rz\n\n",
    "x\n",
    "{% if t %}\n\nx{% endif %}",
    "  {% set a = 1 %}  {% set b = 2 %}\n  x",
    "{{ '{{' }}{{ '%}' }}",
    "{{ {'a': {'b': 1}} }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{ n }}{% if t %}{% endif %}{{ n }}",
    "{{ 1, 2 }}",
    "{% if t: %}x{% endif %}",
    "{% for m in messages %}{{ m.role + ': ' + m['content'] | trim }}\n{% endfor %}",
    "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' -}} {{ m.content }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% set x = n if n > 5 else 0 %}{{ x }}",
    "{% set l = [] %}{% for i in list %}{% set l = l + [i] %}{% endfor %}{{ l }}",
    "{% set ns = namespace(l=[]) %}{% for i in list %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}",
    "{% set g = list|map('string') %}{{ g|list }}{{ g|list }}",
    "{% if list|select('>', 99) %}truthy{% endif %}",
    "{% if d.items() %}x{% endif %}{% if {}.items() %}y{% endif %}",
    "{% set n = n + 1 %}{{ n }}",
    "{% set loop_messages = messages %}{% for m in loop_messages[1:] %}{{ loop.first }}{{ m.role }}{% endfor %}",
    "{% if messages[0]['role'] == 'system' %}a{% else %}{% set x = 'dflt' %}{% endif %}{{ x }}",
    "{% for m in messages[::-1] %}{{ m.content }}{% endfor %}",
    "{% for m in messages|reverse %}{{ m.content }}{{ loop.index }}{% endfor %}",
    "{% for m in messages %}{% if loop.previtem and loop.previtem.role == 'user' %}after {% endif %}{{ m.role }} {% endfor %}",
    "{% for a in list %}{% set outer = loop %}{% for b in [1] %}{{ outer.index }}{% endfor %}{% endfor %}",
    "{%- set f = namespace(found=false) -%}{%- for x in list -%}{%- if x == 1 -%}{%- set f.found = true -%}"
    "{%- endif -%}{%- endfor -%}{{ f.found }}",
    "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% from 'x' import y %}", "{% do 1 %}", "{% nope %}",
    "{% if t %}", "{% endif %}", "{% if t %}{% endfor %}", "{% for %}{% endfor %}", "{{", "{%", "{#", "{{ n", "{% if t",
    "}}", "%}", "{{}}", "{% %}", "{{ n }", "{% raw %}x", "{% set %}", "{% set 1 = 2 %}", "{% set a.b.c = 1 %}",
    "{% macro %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% macro m(a, a) %}{% endmacro %}",
    "{{ m(a=1, 2) }}", "{{ s|upper( }}", "{{ (1 }}", "{{ 1) }}", "{{ [1) }}", "{% for x in list %}{{ x }}",
    "{% if t %}{{ s|nofilter }}{% endif %}", "{% if not t %}{{ s|nofilter }}{% endif %}ok",
    "{% if not t %}{{ s is notest }}{% endif %}ok", "{{ s|nofilter if not t else 'ok' }}",
    "{% set x = missing.y %}", "{% set x = missing %}{{ x is defined }}", "{{ missing.y is defined }}",
    "{{ d.missing is defined }}{{ d.missing.y is defined }}",
    "{% set _ = list.append(1) %}", "{% set _ = [].append(1) %}", "{% generation %}x{% endgeneration %}",
]

SNIPPETS = ["{{ " + line + " }}" for line in _EXPRESSIONS.strip("\n").split("\n")] + _TEMPLATES
