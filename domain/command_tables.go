package domain

// wrapper is a program that runs another one, named by its arguments.
type wrapper struct {
	// flags are the short options that take no value.
	flags string
	// operands is how many words that are no options come before the program.
	operands int
	// loose is set when the program may be any of the arguments.
	loose bool
	// code is set when the arguments are shell code, alone and joined.
	code bool
	// bare is set when, without a program, it runs a shell.
	bare bool
	// verbs is set when the first argument may say that no program is run.
	verbs bool
	// opaque lists the options that make it run what can't be known; "*" is any
	// argument at all.
	opaque []string
}

var wrappers = map[string]wrapper{
	".": {opaque: []string{"*"}}, "source": {opaque: []string{"*"}}, "fc": {opaque: []string{"*"}},
	// An alias gives a new meaning to words further on.
	"alias": {opaque: []string{"*"}}, "hash": {opaque: []string{"-p"}}, "enable": {opaque: []string{"-f"}},
	"bind": {opaque: []string{"-x"}}, "mapfile": {opaque: []string{"-C"}}, "readarray": {opaque: []string{"-C"}},
	"complete": {opaque: []string{"-C", "-F"}}, "compgen": {opaque: []string{"-C", "-F"}},
	"eval": {code: true}, "trap": {code: true},
	"exec": {flags: "cl"}, "command": {flags: "pvV"}, "builtin": {}, "noglob": {}, "nocorrect": {},

	"at": {opaque: []string{"*"}, bare: true}, "batch": {opaque: []string{"*"}, bare: true},
	"crontab": {opaque: []string{"*"}, bare: true}, "expect": {opaque: []string{"*"}, bare: true},
	"parallel": {opaque: []string{"*"}, bare: true}, "sem": {opaque: []string{"*"}, bare: true},
	"ssh": {flags: "46AaCfGgKkMNnqsTtVvXxYy", code: true, operands: 1, bare: true}, "watch": {flags: "bcdegtwx", code: true},
	"su": {code: true, loose: true}, "runuser": {code: true, loose: true}, "script": {code: true, loose: true},
	"flock": {flags: "esnuxoF", code: true, operands: 1}, "tmux": {loose: true, code: true}, "screen": {loose: true, code: true},
	"nix-shell": {loose: true, code: true},

	"sudo": {flags: "AbEHknPSK", opaque: []string{"-s", "-i", "--shell", "--login"}}, "doas": {flags: "nL", opaque: []string{"-s"}},
	"env": {flags: "i0v", opaque: []string{"-S", "--split-string"}}, "xargs": {flags: "0rtpxo"},
	"pkexec": {bare: true}, "nohup": {}, "nice": {}, "ionice": {flags: "t"}, "chrt": {operands: 1}, "stdbuf": {}, "unbuffer": {flags: "p"},
	"time": {flags: "pvaq"}, "gtime": {flags: "pvaq"}, "timeout": {flags: "pfv", operands: 1}, "gtimeout": {flags: "pfv", operands: 1},
	"setsid": {flags: "cfw"}, "setarch": {loose: true}, "taskset": {flags: "a", operands: 1}, "strace": {}, "ltrace": {},
	"chroot": {operands: 1, bare: true}, "fakeroot": {bare: true}, "caffeinate": {flags: "dimsu"}, "busybox": {}, "toybox": {},
	"catchsegv": {}, "valgrind": {}, "dbus-run-session": {}, "unshare": {loose: true, bare: true}, "nsenter": {loose: true, bare: true},
	"bwrap": {loose: true}, "firejail": {loose: true, bare: true}, "systemd-run": {loose: true}, "proxychains": {loose: true},
	"proxychains4": {loose: true}, "torsocks": {loose: true, bare: true}, "entr": {loose: true}, "fd": {loose: true}, "fdfind": {loose: true},
	"docker": {loose: true, verbs: true}, "podman": {loose: true, verbs: true}, "nerdctl": {loose: true, verbs: true}, "kubectl": {loose: true, verbs: true}, "ip": {loose: true, verbs: true},
	"npx": {loose: true}, "bunx": {loose: true}, "uv": {loose: true, verbs: true}, "uvx": {loose: true}, "poetry": {loose: true, verbs: true}, "pipenv": {loose: true, verbs: true},
	"conda": {loose: true, verbs: true}, "sg": {loose: true, code: true}, "capsh": {opaque: []string{"*"}}, "setpriv": {loose: true}, "gosu": {loose: true},
	"su-exec": {loose: true}, "sshpass": {loose: true}, "rlwrap": {loose: true}, "dumb-init": {loose: true}, "tini": {loose: true},
	"coreutils": {loose: true, opaque: []string{"--coreutils-prog-shebang"}},
	"direnv":    {loose: true}, "nix": {loose: true}, "rsync": {loose: true},
}

// quietVerbs run no program.
var quietVerbs = map[string]bool{
	"build": true, "ps": true, "images": true, "logs": true, "pull": true, "push": true, "tag": true, "inspect": true, "stop": true,
	"get": true, "describe": true, "apply": true, "rollout": true, "version": true, "info": true, "install": true, "add": true, "sync": true,
	"lock": true, "pip": true, "addr": true, "link": true, "route": true, "list": true, "show": true,
}

// builtins are run by the shell alone, so that among the arguments of another
// program they are mere words: docker build .
var builtins = map[string]bool{
	".": true, "source": true, "fc": true, "alias": true, "hash": true, "enable": true, "bind": true, "mapfile": true, "readarray": true,
	"complete": true, "compgen": true, "eval": true, "trap": true, "exec": true, "command": true, "builtin": true,
}

// shells read their program from -c, a file or their input.
var shells = map[string]bool{
	"sh": true, "bash": true, "dash": true, "zsh": true, "ksh": true, "ksh93": true, "mksh": true, "pdksh": true,
	"oksh": true, "ash": true, "rbash": true, "rksh": true, "rzsh": true, "yash": true, "posh": true, "hush": true,
	"brush": true, "osh": true,
}

// makers run what a file of theirs says.
var makers = map[string]bool{"make": true, "gmake": true, "bmake": true, "ninja": true, "samu": true}

// tongues run languages that are not read here. Versions are cut off: python3.
var tongues = map[string]bool{
	"python": true, "pythonw": true, "pypy": true, "ipython": true, "perl": true, "ruby": true, "irb": true, "node": true, "nodejs": true,
	"deno": true, "bun": true, "php": true, "lua": true, "luajit": true, "rscript": true, "osascript": true, "tclsh": true, "wish": true,
	"guile": true, "fish": true, "csh": true, "tcsh": true, "pwsh": true, "powershell": true, "elvish": true, "nu": true, "xonsh": true,
	"cmd": true, "jshell": true, "groovy": true, "ghci": true, "erl": true, "elixir": true, "iex": true, "gdb": true, "lldb": true,
	"julia": true, "octave": true, "raku": true, "scala": true, "tsx": true, "ts-node": true, "ysh": true,
}

// editors take commands from their arguments and from their input, and ! among
// these runs a shell: ed <<< '!rm -rf /'.
var editors = map[string]bool{
	"ed": true, "ex": true, "vi": true, "vim": true, "nvim": true, "gvim": true, "nvi": true, "view": true, "vimdiff": true,
	"emacs": true, "emacsclient": true, "kak": true, "hx": true,
}

// inert programs print, store or look at their arguments and never run one.
var inert = map[string]bool{
	"echo": true, "printf": true, "ls": true, "cat": true, "head": true, "tail": true, "wc": true, "grep": true, "egrep": true,
	"fgrep": true, "rg": true, "which": true, "whereis": true, "type": true, "man": true, "whatis": true, "apropos": true,
	"stat": true, "file": true, "du": true, "df": true, "mkdir": true, "rmdir": true, "touch": true, "cd": true, "pwd": true,
	"test": true, "[": true, "[[": true, "true": true, "false": true, ":": true, "sleep": true, "basename": true,
	"dirname": true, "realpath": true, "readlink": true, "sort": true, "uniq": true, "cut": true, "tr": true, "jq": true, "tee": true,
	"dpkg-query": true,
}
