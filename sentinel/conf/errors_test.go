package conf

import (
	"strings"
	"testing"
)

const monitorLine = "sentinel monitor m 10.0.0.1 6379 2\n"

// wrongLines are whole files and the message for each, without the "sentinel.conf:" in front.
func wrongLines() map[string]string {
	const blank = " must not be empty or hold blanks, quotes or control characters"
	return map[string]string{
		"foo bar":                      `1: "foo ...": unknown directive, neither Sentinel's nor one of triwatch's; correct its name or take the line out`,
		"\n\n# x\nx":                   `4: "x": unknown directive, neither Sentinel's nor one of triwatch's; correct its name or take the line out`,
		"sentinel":                     `1: "sentinel": the word after "sentinel" is missing, for example: sentinel monitor NAME HOST PORT QUORUM`,
		"sentinel debug info-period 1": `1: "sentinel debug ...": unknown directive, neither Sentinel's nor one of triwatch's; correct its name or take the line out`,
		"include /etc/redis/x.conf":    `1: "include /etc/redis/x.conf": nothing can be included here`,
		"port":                         `1: "port": the line must read: port NUMBER`,
		"port 1 2":                     `1: "port 1 2": the line must read: port NUMBER`,
		"port 0":                       `1: "port 0": without a port and a tls-port no client could connect`,
		"tls-port 0\nport 0":           `2: "port 0": without a port and a tls-port no client could connect`,
		"port 65536":                   `1: "port 65536": the port must be a whole number from 1 to 65535, not "65536"`,
		"port 6379x":                   `1: "port 6379x": the port must be a whole number from 1 to 65535, not "6379x"`,
		`port "1`:                      `1: "port ...": the quotes are not balanced (a closing quote must be there and be followed by a blank)`,
		`dir ""`:                       `1: "dir \"\"": the path of the data directory must not be empty or hold a zero byte`,
		`bind ""`:                      `1: "bind \"\"": the address "" is empty or holds a blank or control character`,
		"tls-port 26380":               `1: "tls-port 26380": TLS needs tls-cert-file and tls-key-file`,
		"tls-replication yes":          `1: "tls-replication yes": TLS needs tls-cert-file and tls-key-file`,
		"tls-auth-clients maybe":       `1: "tls-auth-clients maybe": the value must be yes, no or optional`,
		`tls-protocols "TLSv1.1"`:      `1: "tls-protocols \"TLSv1.1\"": "TLSv1.1" is none of TLSv1.2 and TLSv1.3; older ones are not offered`,
		"tls-cert-file a\ntls-key-file b\ntls-auth-clients optional\ntls-port 26380":                      `4: "tls-port 26380": TLS needs tls-ca-cert-file or tls-ca-cert-dir, to know whom to trust; only tls-auth-clients no without tls-replication does without`,
		"tls-cert-file a\ntls-key-file b\ntls-auth-clients no\ntls-replication yes":                       `4: "tls-replication yes": TLS needs tls-ca-cert-file or tls-ca-cert-dir, to know whom to trust; only tls-auth-clients no without tls-replication does without`,
		"tls-cert-file a\ntls-key-file b\ntls-ca-cert-file c\ntls-port 26379":                             `4: "tls-port 26379": port and tls-port must not be the same; port 0 serves TLS only`,
		"tls-cert-file a\ntls-key-file b\ntls-ca-cert-file c\ntls-client-key-file d\ntls-replication yes": `5: "tls-replication yes": of tls-client-cert-file and tls-client-key-file one is missing`,
		"aclfile /x\nuser a on":        `1: "aclfile /x": there are user lines, too (line 2): users stand in one of the two, as in Redis`,
		`rename-command CONFIG ""`:     `1: "rename-command ...": renaming the watcher's own commands is not supported, and the setting is not ignored because it may limit access; take the line out if that is acceptable`,
		"protected-mode maybe":         `1: "protected-mode maybe": the value must be yes or no, not "maybe"`,
		"protected-mode yes":           `1: "protected-mode yes": there is no protected mode, and the setting is not ignored because the port would be open; set requirepass, or bind to 127.0.0.1, or say no`,
		"user a on\nuser a off":        `2: "user ...": the user is there already in line 1, take one of the lines out`,
		"sentinel myid abc":            `1: "sentinel myid abc": the id must be 40 hexadecimal digits; take the line out to get a fresh one`,
		"sentinel announce-port 70000": `1: "sentinel announce-port 70000": the port must be a whole number from 1 to 65535, not "70000"`,
		"sentinel announce-ip \"a b\"": `1: "sentinel announce-ip \"a b\"": the address must not hold blanks or control characters`,
		"sentinel current-epoch -1":    `1: "sentinel current-epoch -1": the epoch must be a whole number from 0 to 18446744073709551615, not "-1"`,
		"sentinel resolve-hostnames 1": `1: "sentinel resolve-hostnames 1": the value must be yes or no, not "1"`,

		"sentinel monitor m 10.0.0.1 6379":          `1: "sentinel monitor m 10.0.0.1 6379": the line must read: sentinel monitor NAME HOST PORT QUORUM`,
		"sentinel monitor m 10.0.0.1 6379 0":        `1: "sentinel monitor m 10.0.0.1 6379 0": the quorum (how many watchers must agree) must be a whole number from 1 to 2147483647, not "0"`,
		"sentinel monitor m 10.0.0.1 0 2":           `1: "sentinel monitor m 10.0.0.1 0 2": the port must be a whole number from 1 to 65535, not "0"`,
		"sentinel monitor m redis-0 6379 2":         `1: "sentinel monitor m redis-0 6379 2": the host "redis-0" is not an IP address; use one, or allow names with "sentinel resolve-hostnames yes"`,
		`sentinel monitor "a b" 10.0.0.1 6379 2`:    `1: "sentinel monitor \"a b\" 10.0.0.1 6379 2": the master's name` + blank,
		`sentinel monitor "\x1b[2J" 10.0.0.1 1 2`:   `1: "sentinel monitor \"\\x1b[2J\" 10.0.0.1 1 2": the master's name` + blank,
		`sentinel monitor m "\n" 6379 2`:            `1: "sentinel monitor m \"\\n\" 6379 2": the host` + blank,
		monitorLine + monitorLine:                   `2: "sentinel monitor m 10.0.0.1 6379 2": the master "m" is already monitored by line 1, every master needs a name of its own`,
		"sentinel failover-timeout m 1":             `1: "sentinel failover-timeout m 1": no such master: "m", but no correct "sentinel monitor NAME HOST PORT QUORUM" line names one`,
		monitorLine + "sentinel config-epoch n 1":   `2: "sentinel config-epoch n 1": no such master: "n", but the "sentinel monitor" lines name only: m`,
		monitorLine + "sentinel auth-pass s3cret m": `2: "sentinel auth-pass ...": the line names a master, but the "sentinel monitor" lines name only: m`,

		monitorLine + "sentinel down-after-milliseconds m 0":                     `2: "sentinel down-after-milliseconds m 0": the time in milliseconds must be a whole number from 1 to 1099511627776, not "0"`,
		monitorLine + "sentinel failover-timeout m 3s":                           `2: "sentinel failover-timeout m 3s": the time in milliseconds must be a whole number from 1 to 1099511627776, not "3s"`,
		monitorLine + "sentinel parallel-syncs m 0":                              `2: "sentinel parallel-syncs m 0": the number of replicas repointed at once must be a whole number from 1 to 2147483647, not "0"`,
		monitorLine + "sentinel known-replica m 10.0.0.2":                        `2: "sentinel known-replica m 10.0.0.2": the line must read: sentinel known-replica NAME HOST PORT`,
		monitorLine + "sentinel known-slave m x 1":                               `2: "sentinel known-slave m x 1": the host "x" is not an IP address; use one, or allow names with "sentinel resolve-hostnames yes"`,
		monitorLine + "sentinel known-sentinel m 10.0.0.2 1 \"\"":                `2: "sentinel known-sentinel m 10.0.0.2 1 \"\"": the watcher's id` + blank,
		monitorLine + strings.Repeat("sentinel known-replica m 10.0.0.2 1\n", 2): `3: "sentinel known-replica m 10.0.0.2 1": the replica 10.0.0.2:1 of "m" is there twice, take one of the lines out`,
		monitorLine + strings.Repeat("sentinel known-sentinel m ::1 1 i\n", 2):   `3: "sentinel known-sentinel m ::1 1 i": the watcher i of "m" is there twice, take one of the lines out`,
	}
}

func TestWrongLinesAreOneClearSentence(t *testing.T) {
	for text, want := range wrongLines() {
		_, err := Parse("sentinel.conf", strings.NewReader(text))
		if err == nil {
			t.Errorf("%q is accepted", text)
		} else if err.Error() != "sentinel.conf:"+want {
			t.Errorf("%q:\n got %s\nwant sentinel.conf:%s", text, err, want)
		}
	}
}

func TestSecretsAreNeverInErrors(t *testing.T) {
	for _, text := range []string{
		`requirepass s3cret x`, `requirepass "s3cret`, `requirepass=s3cret`, `requirepas s3cret`, `REQUIREPASS:s3cret`, `"requirepass" s3cret x`,
		`sentinel auth-pass m s3cret`, `sentinel auth-pass s3cret`, `sentinel auth-pass m "s3cret`, `sentinel auth-pas m s3cret`, `sentinel auth-pass=s3cret`,
		`sentinel "auth-pass" s3cret`, `sentinel sentinel-pass s3cret x`, `sentinel  auth-pass m 's3cret' x`, `sentinel s3cret`, `user`, "user a on\nuser a on >s3cret",
		`tls-key-file-pass s3cret 1`, `masterauth`, `"s3cret`, `auth-pass m s3cret`, `masterauth "s3cret`, `sentinel "s3cret`, `rename-command CONFIG s3cret`,
	} {
		_, err := Parse("sentinel.conf", strings.NewReader(text))
		switch {
		case err == nil:
			t.Errorf("%q is accepted", text)
		case text == `sentinel s3cret`: // what stands in the place of a directive is shown, or no typo could be found
		case strings.Contains(err.Error(), "s3cret"):
			t.Errorf("the secret is shown: %v", err)
		}
	}
}

func TestAccessIsNeverSilentlyWider(t *testing.T) {
	// sha256 of "hello"
	const hash = "#2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for text, ok := range map[string]bool{
		"user default on nopass ~* &* +@all":                                     true,
		"requirepass hello\nuser default on " + hash + " ~* &* +@all":            true,
		"user default on " + hash + " ~* &* +@all\nrequirepass hello":            true,
		"requirepass hello\nuser default on nopass sanitize-payload ~* &* +@all": true,
		"user default on " + hash + " ~* &* +@all":                               true,
		"protected-mode yes\nuser default on " + hash + " ~* &* +@all":           true,
		"protected-mode yes\nuser default on nopass ~* &* +@all":                 false,
		"protected-mode yes\nrequirepass x\nuser default on nopass ~* &* +@all":  false,
		"protected-mode yes\nuser other on >x ~* +@all":                          false,
		"user other on >x ~* +@all":                                              true,
		"protected-mode yes\nrequirepass x":                                      true,
		"protected-mode yes\nbind 127.0.0.1 -::1":                                true,
		"protected-mode yes\nbind 127.0.0.1 10.0.0.1":                            false,
		"protected-mode yes\nbind *":                                             false,
		"protected-mode no":                                                      true,
	} {
		if _, err := Parse("sentinel.conf", strings.NewReader(text)); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
