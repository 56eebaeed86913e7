package domain

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestShownEscapesWhatCannotBeSeen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"plain text", "npm test -- --run 'a b' | tee $HOME/x", "npm test -- --run 'a b' | tee $HOME/x"},
		{"letters of other scripts", "größe Привет 日本語 한국어 عربى עברית हिन्दी ไทย", "größe Привет 日本語 한국어 عربى עברית हिन्दी ไทย"},
		{"a letter in two parts", "e\u0301tude", "e\u0301tude"},
		{"emoji", "🚀 go", "🚀 go"},
		{"a newline", "a\nrm -rf /", `a\u{A}rm -rf /`},
		{"a tab and a return", "a\t\rb", `a\u{9}\u{D}b`},
		{"NUL, escape and delete", "\x00\x1b[2K\x7f", `\u{0}\u{1B}[2K\u{7F}`},
		{"a control character of the second set", "a\u0085b\u009b", `a\u{85}b\u{9B}`},
		{"an override of direction", "a\u202Etxt.exe", `a\u{202E}txt.exe`},
		{"isolates and marks of direction", "\u2066\u2069\u200e\u200f\u061c", `\u{2066}\u{2069}\u{200E}\u{200F}\u{61C}`},
		{"characters of no width", "a\u200bb\u200cc\u200dd\u2060e\ufeff", `a\u{200B}b\u{200C}c\u{200D}d\u{2060}e\u{FEFF}`},
		{"separators of lines and paragraphs", "\u2028\u2029", `\u{2028}\u{2029}`},
		{"a soft hyphen", "rm\u00ad", `rm\u{AD}`},
		{"selectors of variations", "a\ufe0f\U000e0100", `a\u{FE0F}\u{E0100}`},
		{"fillers", "\u115f\u1160\u3164\uffa0\u2800\u034f", `\u{115F}\u{1160}\u{3164}\u{FFA0}\u{2800}\u{34F}`},
		{"Mongolian selectors", "\u180b\u180c\u180d\u180e\u180f", `\u{180B}\u{180C}\u{180D}\u{180E}\u{180F}`},
		{"Khmer vowels that are not written", "ក\u17b4\u17b5", `ក\u{17B4}\u{17B5}`},
		{"tags", "\U000e0001\U000e0041\U000e007f", `\u{E0001}\u{E0041}\u{E007F}`},
		{"private use", "\ue000\U000f0000\U0010fffd", `\u{E000}\u{F0000}\u{10FFFD}`},
		{"what is not assigned", "\u0378\ufdd0\uffff\U000e0fff", `\u{378}\u{FDD0}\u{FFFF}\u{E0FFF}`},
		{"blanks that are not ASCII", "\u00a0\u1680\u2000\u2007\u200a\u202f\u205f\u3000", `\u{A0}\u{1680}\u{2000}\u{2007}\u{200A}\u{202F}\u{205F}\u{3000}`},
		{"in place of a character", "\ufffd\ufffc", `\u{FFFD}\u{FFFC}`},
		{"bytes that are no text", "a\xff\xc3b\xe2\x80", `a\x{FF}\x{C3}b\x{E2}\x{80}`},
		{"a surrogate", "\xed\xa0\x80", `\x{ED}\x{A0}\x{80}`},
		{"a mark at the start", "\u0301a", `\u{301}a`},
		{"a mark on a blank", "a \u0301", `a \u{301}`},
		{"a mark on a quote", "'\u0301", `'\u{301}`},
		{"marks on an escaped character", "a\u200b\u0301\u0302", `a\u{200B}\u{301}\u{302}`},
		{"a stroke through a letter", "r\u0336m\u0338", `r\u{336}m\u{338}`},
		{"marks up to the most", "a" + strings.Repeat("\u0301", 4), "a" + strings.Repeat("\u0301", 4)},
		{"and all after", "a" + strings.Repeat("\u0301", 6), "a" + strings.Repeat("\u0301", 4) + `\u{301}\u{301}`},

		{"a backslash", `C:\users\x \n \\`, `C:\users\x \n \\`},
		{"what reads as an escape", `\u{202E}`, `\\u{202E}`},
		{"what reads as an escaped byte", `\x{FF}`, `\\x{FF}`},
		{"what reads as an escape of an escape", `\\u{202E}`, `\\\\u{202E}`},
		{"a backslash before an escape", "\\\u202E", `\\\u{202E}`},
		{"two before an escape", "\\\\\u202E", `\\\\\u{202E}`},
		{"the text of an escape without its backslash", `u{202E}`, `u{202E}`},
		{"another escape", `\u202E \U{1}`, `\u202E \U{1}`},
		{"a mark on a backslash", "a\\\u0301", `a\\\u{301}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := visible(tt.text); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if got := Shown(tt.text); got != tt.want {
				t.Errorf("shown: got %s, want %s", got, tt.want)
			}
			if got := unescape(tt.want); got != tt.text {
				t.Errorf("unescaped: got %q, want %q", got, tt.text)
			}
		})
	}
}

// What is shown as it is has a form, and what is not can be read back.
func TestVisibleOfEveryCharacter(t *testing.T) {
	t.Parallel()
	step := rune(1)
	for c := rune(0); c <= unicode.MaxRune; c += step {
		if c > 0x30000 && c < 0xe0000 || c > 0xe1000 {
			step = 251 // nothing is assigned, or all is for private use
		} else {
			step = 1
		}
		if !utf8.ValidRune(c) {
			continue
		}
		text := "a" + string(c)
		got := visible(text)
		seen := c == ' ' || unicode.In(c, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S)
		if got == text && (!seen || unicode.In(c, unicode.Other_Default_Ignorable_Code_Point)) {
			t.Errorf("%U: got it as it is, want it escaped", c)
		}
		if got != text && (!strings.HasPrefix(got, `a\u{`) || unescape(got) != text || unicode.In(c, unicode.Lu, unicode.Ll, unicode.Nd)) {
			t.Errorf("%U: got %s", c, got)
		}
	}
}

// unescape is the inverse of visible.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		n := 0
		for i < len(s) && s[i] == '\\' {
			i++
			n++
		}
		if !strings.HasPrefix(s[i:], "u{") && !strings.HasPrefix(s[i:], "x{") {
			b.WriteString(strings.Repeat(`\`, n))
			continue
		}
		b.WriteString(strings.Repeat(`\`, n/2))
		if n%2 == 0 {
			continue
		}
		digits, _, _ := strings.Cut(s[i+2:], "}")
		c, err := strconv.ParseUint(digits, 16, 32)
		if err != nil {
			return "not an escape: " + s[i:]
		}
		if s[i] == 'x' {
			b.WriteByte(byte(c))
		} else {
			b.WriteRune(rune(c))
		}
		i += len(digits) + 3
	}
	return b.String()
}

func TestShownRedactsSecrets(t *testing.T) {
	t.Parallel()
	const random = "Zx81mQ0vT4uW7yB2cD5eF8gH1jK3lM6n" // 32 characters
	const word = "Zx81mQ0vT4"
	body := strings.Repeat("MIIEvQIBADANBgkq", 4)
	for _, tt := range []struct{ name, text, want string }{
		{"a password", "PASSWORD=" + word + " make", "PASSWORD=[redacted 10 characters] make"},
		{"a name that ends so", "GITHUB_TOKEN=" + word + " aws_secret_access_key=" + word + "=", "GITHUB_TOKEN=[redacted 10 characters] aws_secret_access_key=[redacted 11 characters]"},
		{"the spellings of an API key", "api_key=" + word + " apikey=" + word + " x-api-key=" + word, "api_key=[redacted 10 characters] apikey=[redacted 10 characters] x-api-key=[redacted 10 characters]"},
		{"the other names", "auth=" + word + " private_key=" + word + " clientSecret=" + word + " cookie=" + word, "auth=[redacted 10 characters] private_key=[redacted 10 characters] clientSecret=[redacted 10 characters] cookie=[redacted 10 characters]"},
		{"an option with =", "mysql --password=" + word + " db", "mysql --password=[redacted 10 characters] db"},
		{"an option", "mysql db --password " + word + " -e x", "mysql db --password [redacted 10 characters] -e x"},
		{"a quoted option", "mysql db --password '" + word + "'", "mysql db --password '[redacted 10 characters]'"},
		{"an option after an option, if it looks random", "run -v --token " + random, "run -v --token [redacted 32 characters]"},
		{"a header", `curl -H "Authorization: Bearer abc.def" x`, `curl -H "Authorization: Bearer [redacted 7 characters]" x`},
		{"a basic header", `curl -H 'authorization: basic dXNlcjpwYXNz=='`, `curl -H 'authorization: basic [redacted 14 characters]'`},
		{"another header", `curl -H "X-Api-Key: abc" x`, `curl -H "X-Api-Key: [redacted 3 characters]" x`},
		{"a header without a blank", `curl -H X-Api-Key:` + random, `curl -H X-Api-Key:[redacted 32 characters]`},
		{"JSON", `{"user": "me", "password": "hunter2"}`, `{"user": "me", "password": "[redacted 7 characters]"}`},
		{"JSON without blanks", `{"password":"hunter2","a":1}`, `{"password":"[redacted 7 characters]","a":1}`},
		{"JSON in double quotes", `curl -d "{\"password\": \"hunter2\"}"`, `curl -d "{\"password\": \"[redacted 7 characters]\"}"`},
		{"JSON on lines", "{\n  \"token\": \"abc\"\n}", `{\u{A}  "token": "[redacted 3 characters]"\u{A}}`},
		{"YAML", "user: me\n  password: hunter2\n", `user: me\u{A}  password: [redacted 7 characters]\u{A}`},
		{"a setting", "password = " + word, "password = [redacted 10 characters]"},
		{"a make variable", "TOKEN := " + word, "TOKEN := [redacted 10 characters]"},
		{"only as far as the alphabet of secrets goes", "password=" + word + "!x", "password=[redacted 10 characters]!x"},
		{"a URL", "git clone https://user:hunter2@example.com/x", "git clone https://user:[redacted 7 characters]@example.com/x"},
		{"a URL without a user", "redis://:hunter2@example.com", "redis://:[redacted 7 characters]@example.com"},
		{"a URL with a percent sign", "https://user:p%40ss@example.com", "https://user:[redacted 1 character]%[redacted 4 characters]@example.com"},
		{"a URL with a token for a user", "https://" + random + "@example.com/x", "https://[redacted 32 characters]@example.com/x"},
		{"a key of ours", "bhf_sk_" + random, "bhf_sk_[redacted 32 characters]"},
		{"a token of ours", "x bhf_dev_" + random + " y", "x bhf_dev_[redacted 32 characters] y"},
		{"a passport of ours", "'bhf_pass_" + random + ".a.b'", "'bhf_pass_[redacted 36 characters]'"},
		{"a secret of a webhook", "whsec_" + random + "+/=", "whsec_[redacted 35 characters]"},
		{"OpenAI and the like", "sk-proj-" + random, "sk-[redacted 37 characters]"},
		{"Stripe", "sk_live_" + random, "sk_live_[redacted 32 characters]"},
		{"GitHub", "ghp_" + random + " gho_" + random + " ghs_" + random + " github_pat_" + random, "ghp_[redacted 32 characters] gho_[redacted 32 characters] ghs_[redacted 32 characters] github_pat_[redacted 32 characters]"},
		{"Slack", "xoxb-12345-67890 xoxa-12345-67890 xoxp-12345-67890", "xoxb-[redacted 11 characters] xoxa-[redacted 11 characters] xoxp-[redacted 11 characters]"},
		{"AWS", "AKIAIOSFODNN7EXAMPLE", "AKIA[redacted 16 characters]"},
		{"GitLab", "glpat-xxxxxxxxxxxxxxxxxxxx", "glpat-[redacted 20 characters]"},
		{"a JWT", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJ[redacted 38 characters]"},
		{"a known token as a value is hidden whole", "token=ghp_" + random, "token=[redacted 36 characters]"},
		{
			"a private key", "-----BEGIN RSA PRIVATE KEY-----\n" + body + "\n" + body + "\nAb1=\n-----END RSA PRIVATE KEY-----",
			`-----BEGIN RSA PRIVATE KEY-----\u{A}[redacted 64 characters]\u{A}[redacted 64 characters]\u{A}[redacted 4 characters]\u{A}-----END RSA PRIVATE KEY-----`,
		},
		{
			"a private key in JSON", `"-----BEGIN PRIVATE KEY-----\n` + body + `\nAb1+\n-----END PRIVATE KEY-----\n"`,
			`"-----BEGIN PRIVATE KEY-----\n[redacted 64 characters]\nAb1+\n-----END PRIVATE KEY-----\n"`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Shown(tt.text); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// What is no secret is shown, above all a command in the place of one.
func TestShownHidesNoCommand(t *testing.T) {
	t.Parallel()
	const word = "Zx81mQ0vT4"
	for _, text := range []string{
		"token=$(rm -rf /)",
		"token=`rm -rf /`",
		`password="$(rm -rf /)"`,
		"token= reboot",
		"AUTH=reboot; $AUTH",
		"alias token=reboot",
		"TOKEN=reboot printenv TOKEN | sh",
		"X_TOKEN=/usr/bin/evil sh -c '$X_TOKEN'",
		"git push origin --token=main",
		"https://x.com/?token=/../../admin/delete",
		"/srv/token=x/../prod/customer.db",
		"db/token=prod-database",
		"A=token= reboot",
		"A=token: reboot",
		"sudo -p password: reboot",
		"sudo -p 'password': reboot",
		`sudo -p "a "token: reboot`,
		`sudo -p "a "token: reboot""`,
		`sudo -p "a "token: reboot"$x"`,
		`sudo -p a,"token": "reboot"`,
		`sudo -p a,"token": reboot`,
		"flock token: reboot",
		"flock token: /usr/local/bin/Reboot2",
		"exec -a --password reboot",
		"A=--password reboot",
		"x--password reboot",
		"env --token --force",
		"tool --auth basic deploy",
		"git push origin token:main",
		`git push origin "token:main"`,
		"docker run corp/auth:latest",
		"scp token:/etc/passwd .",
		"cat token /Users/Me1/x",
		"git commit --author=Bob --authors=x",
		"max_tokens=4096 tokenizer=x SSH_AUTH_SOCK=/x git config credential.helper=x",
		"secret://prod/db1",
		"secret:prod/db1",
		"token == reboot",
		`token": reboot`,
		"https://example.com:8080/a@b",
		"https://u:$(rm)@example.com",
		"rm -rf ask-For-Production2024-Databases sk-production-databases",
		"-----BEGIN PRIVATE KEY----- reboot",
		`-----BEGIN PRIVATE KEY-----\nreboot\n-----END PRIVATE KEY-----`,
		`-----BEGIN PRIVATE KEY-----\n/usr/local/bin/Python3\n-----END PRIVATE KEY-----`,
		`-----BEGIN PUBLIC KEY-----\n` + strings.Repeat("MIIEvQIBADANBgkq", 4) + `\n`,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if got := Shown(text); got != text {
				t.Errorf("got %s, want it in full", got)
			}
		})
	}
	for _, tt := range []struct{ text, want string }{
		{"token=" + word + ";rm", "token=[redacted 10 characters];rm"},
		{"token=" + word + "&rm", "token=[redacted 10 characters]&rm"},
		{"token=" + word + "|rm>b<c", "token=[redacted 10 characters]|rm>b<c"},
		{"token=" + word + "\nrm", `token=[redacted 10 characters]\u{A}rm`},
		{"token=" + word + "\u00a0rm", `token=[redacted 10 characters]\u{A0}rm`},
		{"token=" + word + "$(rm)", "token=[redacted 10 characters]$(rm)"},
		{"token='" + word + "'rm", "token='[redacted 10 characters]'rm"},
		{"--password " + word + "`rm`", "--password [redacted 10 characters]`rm`"},
		{"https://good.example:443@evil.example/", "https://good.example:[redacted 3 characters]@evil.example/"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			if got := Shown(tt.text); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// hostileTexts are shapes that make a careless reader of them slow.
var hostileTexts = map[string]string{
	"broken bytes":      "\xff",
	"marks":             "\u0301",
	"backslashes":       `\`,
	"escapes":           `\u{`,
	"letters":           "a",
	"blanks":            " ",
	"equals":            "=",
	"names":             "token",
	"values":            "token=",
	"spaced values":     "token : ",
	"colons":            "token:",
	"quoted":            `\"token\": \"`,
	"headers":           `"token: Bearer `,
	"options":           "--token ",
	"list items":        "- token: x ",
	"indents":           "\n  token: ",
	"URLs":              "https://a:",
	"schemes":           "://",
	"ats":               "://a:a@",
	"percent signs":     "://a:%a@",
	"dashes":            "-",
	"keys":              "-----BEGIN PRIVATE KEY-----",
	"lines":             "\nA1b2C3d4e5f6G7h8",
	"tokens":            "sk-",
	"long tokens":       "ghp_0123456789abcdef ",
	"beginnings of JWT": "eyJ.",
}

// What is slow by the square of the length would take minutes over eight times
// what a command may have.
func TestShownIsQuickOverLongTexts(t *testing.T) {
	t.Parallel()
	for name, unit := range hostileTexts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Repeat(unit, 8*mostCommand/len(unit))
			if got := Shown(text); len(got) > 12*len(text) {
				t.Errorf("got %d bytes, want at most 12 for each of %d", len(got), len(text))
			}
		})
	}
}

func BenchmarkShown(b *testing.B) {
	for name, unit := range hostileTexts {
		text := strings.Repeat(unit, mostCommand/len(unit))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Shown(text)
			}
		})
	}
}

func FuzzShown(f *testing.F) {
	for _, unit := range hostileTexts {
		f.Add(unit, unit+unit)
	}
	f.Add("\\\u202e", `\\u{202E}`)
	f.Add(`\u{202E}`, "\u202e")
	f.Add(`curl -H "Authorization: Bearer abc" https://u:p@h token=$(rm)`, "")
	f.Fuzz(func(t *testing.T, one, other string) {
		seen := visible(one)
		if got := unescape(seen); got != one {
			t.Errorf("%q is visible as %s, which is that of %q", one, seen, got)
		}
		if one != other && seen == visible(other) {
			t.Errorf("%q and %q: got %s for both", one, other, seen)
		}
		shown := Shown(one)
		for _, c := range shown {
			if c != ' ' && !unicode.In(c, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) {
				t.Errorf("%q: got %U in %q, want only what can be seen", one, c, shown)
			}
		}
		last := 0
		for _, hidden := range apart(slices.Concat(namedSecrets(seen), urlSecrets(seen), shapedSecrets(seen), keyBodies(seen))) {
			if hidden.from < last || hidden.from >= hidden.until || hidden.until > len(seen) {
				t.Fatalf("%q: got %+v after %d, want runs in order", seen, hidden, last)
			}
			last = hidden.until
			value := seen[hidden.from:hidden.until]
			if rest := strings.Trim(value, tokenAlphabet+".~+/="); rest != "" {
				t.Errorf("%q: got %q hidden, with %q in it", seen, value, rest)
			}
		}
	})
}

// What says where an action goes is shown in full, whatever it is dressed as.
func TestShownTarget(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/srv/token=x/../prod/customer.db":           "/srv/token=x/../prod/customer.db",
		"/srv/password=Zx81mQ0vT4uW7yB2/../prod":     "/srv/password=Zx81mQ0vT4uW7yB2/../prod",
		"db/token=Zx81mQ0vT4uW7yB2cD5eF8gH1":         "db/token=Zx81mQ0vT4uW7yB2cD5eF8gH1",
		"https://user:Zx81mQ0vT4@example.com/x":      "https://user:[redacted 10 characters]@example.com/x",
		"repo/ghp_Zx81mQ0vT4uW7yB2cD5eF8gH1/\u202ex": `repo/ghp_[redacted 25 characters]/\u{202E}x`,
	} {
		if got := ShownTarget(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
