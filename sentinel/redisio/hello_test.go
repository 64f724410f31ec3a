package redisio

import (
	"strings"
	"testing"

	"github.com/triwatch/triwatch/sentinel"
)

const greeting = "10.0.0.11,26379,0123456789abcdef0123456789abcdef01234567,7,orders,10.0.0.21,6379,7"

func TestGreetingsAreFoundWhateverComesInWhateverPieces(t *testing.T) {
	stream := "*3\r\n$9\r\nsubscribe\r\n$15\r\n__triwatch__:watch\r\n:1\r\n" +
		"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$85\r\n" + greeting + "\r\n" +
		"*3\r\n$7\r\nmessage\r\n$3\r\nabc\r\n$9999\r\n" + strings.Repeat("x", 9999) + "\r\n" +
		"*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$85\r\n" + greeting + "\r\n"
	for _, size := range []int{1, 7, 64, len(stream)} {
		var heard []sentinel.Foreign
		g := &greetings{heard: func(f sentinel.Foreign) { heard = append(heard, f) }}
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			g.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		if len(heard) != 2 || heard[0].Addr != (sentinel.Addr{Host: "10.0.0.11", Port: 26379}) || heard[0].Name != "orders" ||
			heard[0].ID != "0123456789abcdef0123456789abcdef01234567" {
			t.Errorf("pieces of %d: %+v", size, heard)
		}
		if cap(g.line) > 4*helloMax {
			t.Errorf("%d bytes are kept", cap(g.line))
		}
	}
}

func TestOtherTextIsNoGreeting(t *testing.T) {
	for _, text := range []string{"", ",,,,,,,", strings.ToUpper(greeting), greeting + ",1", "a b,26379," + greeting[16:],
		strings.Replace(greeting, "26379", "0", 1), strings.Replace(greeting, "0123456789abcdef0123456789abcdef01234567", "short", 1)} {
		if f, ok := parseGreeting(text); ok {
			t.Errorf("%q is taken for %+v", text, f)
		}
	}
}
