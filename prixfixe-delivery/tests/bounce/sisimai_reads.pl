# What sisimai makes of a report, as JSON.
use strict;
use warnings;
use Sisimai;

local $/;
my $content = <STDIN>;
# A mailbox of one message.
my $mailbox = "From MAILER-DAEMON Sat Nov 28 00:45:27 2026\n" . $content =~ s/\r\n/\n/gr;
my $json = Sisimai->dump(\$mailbox);
print defined $json ? $json : '[]';
