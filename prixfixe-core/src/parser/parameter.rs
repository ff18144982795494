//! The parameters of MAIL and RCPT (RFC 5321 section 4.1.2).

use super::dsn;
use super::{Class, alphanumeric_and, ascii_alphanumeric_and, behind_blanks, length_in};
use crate::command::ParameterError;
use crate::{BodyType, MailParameters, Notify, RcptParameters};

/// What stands behind the path, not looked at yet: what may stand there depends on the dialogue so
/// far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameters<'i>(&'i str);

/// Parameters of MAIL, and values of them, that are known where they are offered alone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Offered {
    pub(crate) binary_mime: bool,
    pub(crate) requiretls: bool,
    pub(crate) mt_priority: bool,
}

/// The most digits that a size is written with (RFC 1870 section 6).
const MAX_SIZE_DIGITS: usize = 20;

impl<'i> Parameters<'i> {
    /// `None`: there is no blank between the path and what follows it.
    pub(super) fn behind_path(rest: &'i str) -> Option<Self> {
        let parameters = behind_blanks(rest);
        (parameters.is_empty() || parameters.len() < rest.len()).then_some(Self(parameters))
    }

    /// Those of MAIL. After HELO there are none (RFC 5321 section 4.1.1.11).
    ///
    /// Clients send those of DSN and AUTH though they were not offered. Postfix and Exim take them,
    /// so they are taken here. That of AUTH is looked at and ignored.
    pub(crate) fn of_mail(
        self,
        extended: bool,
        offered: Offered,
    ) -> Result<MailParameters, ParameterError> {
        let mut size = None;
        let mut body = None;
        let mut smtputf8 = None;
        let (mut ret, mut envid, mut auth) = (None, None, None);
        let (mut requiretls, mut mt_priority) = (None, None);
        for parameter in self {
            let (keyword, value) = parameter?;
            let is = |name: &str| extended && keyword.eq_ignore_ascii_case(name);
            if is("SIZE") {
                set(&mut size, size_value(value))?;
            } else if is("BODY") {
                set(&mut body, body_value(value))?;
                if body == Some(BodyType::BinaryMime) && !offered.binary_mime {
                    return Err(ParameterError::Unknown);
                }
            } else if is("SMTPUTF8") {
                set(&mut smtputf8, value.is_none().then_some(true))?;
            } else if is("RET") {
                set(&mut ret, dsn::ret_value(value))?;
            } else if is("ENVID") {
                set(&mut envid, dsn::envid_value(value))?;
            } else if is("AUTH") {
                set(&mut auth, dsn::auth_value(value))?;
            } else if offered.requiretls && is("REQUIRETLS") {
                set(&mut requiretls, value.is_none().then_some(true))?;
            } else if offered.mt_priority && is("MT-PRIORITY") {
                set(&mut mt_priority, priority_value(value))?;
            } else {
                return Err(ParameterError::Unknown);
            }
        }
        Ok(MailParameters {
            size,
            body: body.unwrap_or_default(),
            smtputf8: smtputf8.unwrap_or_default(),
            ret,
            envid,
            requiretls: requiretls.unwrap_or_default(),
            mt_priority,
        })
    }

    /// Those of RCPT, which only DSN has. `smtputf8`: as MAIL had it.
    ///
    /// Where DSN is not offered (`dsn` is false), who asks to be notified of success would wait in
    /// vain.
    pub(crate) fn of_rcpt(
        self,
        extended: bool,
        smtputf8: bool,
        dsn: bool,
    ) -> Result<RcptParameters, ParameterError> {
        let (mut notify, mut orcpt) = (None, None);
        for parameter in self {
            let (keyword, value) = parameter?;
            let is = |name: &str| extended && keyword.eq_ignore_ascii_case(name);
            if is("NOTIFY") {
                set(&mut notify, dsn::notify_value(value))?;
            } else if is("ORCPT") {
                set(&mut orcpt, dsn::orcpt_value(value, smtputf8))?;
            } else {
                return Err(ParameterError::Unknown);
            }
        }
        if !dsn && notify.is_some_and(Notify::success) {
            return Err(ParameterError::Unknown);
        }
        Ok(RcptParameters { notify, orcpt })
    }
}

impl<'i> Iterator for Parameters<'i> {
    type Item = Result<(&'i str, Option<&'i str>), ParameterError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let parameter = esmtp_param(self.0);
        self.0 = parameter.map(|(_, rest)| rest).unwrap_or_default();
        Some(
            parameter
                .map(|(parameter, _)| parameter)
                .ok_or(ParameterError::Bad),
        )
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> Result<(), ParameterError> {
    match value {
        Some(value) if place.is_none() => {
            *place = Some(value);
            Ok(())
        }
        _ => Err(ParameterError::Bad),
    }
}

/// ```abnf
/// size-value = 1*20DIGIT
/// ```
///
/// What is too large for a number is too large for any server.
fn size_value(value: Option<&str>) -> Option<u64> {
    let digits = value?;
    let is_size =
        digits.len() <= MAX_SIZE_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_size.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// ```abnf
/// body-value  = "7BIT" / "8BITMIME"
/// body-value =/ "BINARYMIME"
/// ```
fn body_value(value: Option<&str>) -> Option<BodyType> {
    let value = value?;
    [
        ("7BIT", BodyType::SevenBit),
        ("8BITMIME", BodyType::EightBitMime),
        ("BINARYMIME", BodyType::BinaryMime),
    ]
    .into_iter()
    .find_map(|(name, body)| value.eq_ignore_ascii_case(name).then_some(body))
}

/// ```abnf
/// priority-value = (["-"] NZDIGIT) / "0"
/// ```
///
/// RFC 6710 section 3.
fn priority_value(value: Option<&str>) -> Option<i8> {
    let value = value?;
    match value.strip_prefix('-').unwrap_or(value).as_bytes() {
        [b'1'..=b'9'] => value.parse().ok(),
        [b'0'] if value == "0" => Some(0),
        _ => None,
    }
}

/// ```abnf
/// esmtp-param = esmtp-keyword ["=" esmtp-value] *WSP
/// ```
///
/// And what stands behind it: nothing, or blanks come between.
fn esmtp_param(input: &str) -> Option<((&str, Option<&str>), &str)> {
    let (keyword, rest) = esmtp_keyword(input)?;
    let (value, rest) = match rest.strip_prefix('=') {
        Some(rest) => {
            let (value, rest) = esmtp_value(rest)?;
            (Some(value), rest)
        }
        None => (None, rest),
    };
    let behind = behind_blanks(rest);
    (rest.is_empty() || behind.len() < rest.len()).then_some(((keyword, value), behind))
}

/// ```abnf
/// esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
/// ```
fn esmtp_keyword(input: &str) -> Option<(&str, &str)> {
    const KEYWORD: Class = ascii_alphanumeric_and(b"-");
    let (keyword, rest) = input.split_at_checked(length_in(&KEYWORD, input.as_bytes()))?;
    (!keyword.is_empty() && !keyword.starts_with('-')).then_some((keyword, rest))
}

/// ```abnf
/// esmtp-value  = 1*(%d33-60 / %d62-126)
/// esmtp-value =/ UTF8-non-ascii
/// ```
fn esmtp_value(input: &str) -> Option<(&str, &str)> {
    const VALUE: Class = alphanumeric_and(b"!\"#$%&'()*+,-./:;<>?@[\\]^_`{|}~");
    let (value, rest) = input.split_at_checked(length_in(&VALUE, input.as_bytes()))?;
    (!value.is_empty()).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OriginalRecipient, Ret};

    const OFFERED: Offered = Offered {
        binary_mime: true,
        requiretls: false,
        mt_priority: false,
    };

    fn of_mail(input: &str) -> Result<MailParameters, ParameterError> {
        Parameters::behind_path(input)
            .unwrap()
            .of_mail(true, OFFERED)
    }

    #[test]
    fn parameters_of_mail() {
        let none = MailParameters::default;
        for (input, expected) in [
            ("", none()),
            (" ", none()),
            (
                " SIZE=0",
                MailParameters {
                    size: Some(0),
                    ..none()
                },
            ),
            (
                " size=00000000000000000042",
                MailParameters {
                    size: Some(42),
                    ..none()
                },
            ),
            (
                " SIZE=99999999999999999999",
                MailParameters {
                    size: Some(u64::MAX),
                    ..none()
                },
            ),
            (" BODY=7BIT", none()),
            (
                " body=8bitmime",
                MailParameters {
                    body: BodyType::EightBitMime,
                    ..none()
                },
            ),
            (
                " BODY=BINARYMIME",
                MailParameters {
                    body: BodyType::BinaryMime,
                    ..none()
                },
            ),
            (
                "  SMTPUTF8  SIZE=1",
                MailParameters {
                    size: Some(1),
                    smtputf8: true,
                    ..none()
                },
            ),
        ] {
            assert_eq!(of_mail(input), Ok(expected), "{input:?}");
        }
    }

    #[test]
    fn bad_and_repeated_parameters() {
        for input in [
            " SIZE",
            " SIZE=",
            " SIZE=x",
            " SIZE=-1",
            " SIZE=+1",
            " SIZE=1=2",
            " SIZE=000000000000000000001",
            " SIZE=1 SIZE=1",
            " BODY",
            " BODY=9BIT",
            " BODY=7BIT BODY=8BITMIME",
            " SMTPUTF8=1",
            " SMTPUTF8 smtputf8",
            " =1",
            " -A",
            " SIZE=1,",
            " SIZE=1\0",
            " SIZE =1",
            " \u{e9}=1",
        ] {
            assert_eq!(of_mail(input), Err(ParameterError::Bad), "{input:?}");
        }
    }

    #[test]
    fn unknown_parameters() {
        for input in [" X", " SIZE=1 HOLDFOR=1", " X=\u{e9}", " NOTIFY=NEVER"] {
            assert_eq!(of_mail(input), Err(ParameterError::Unknown), "{input:?}");
        }
        for input in [" SIZE=1", " RET=FULL", " AUTH=<>"] {
            let after_helo = Parameters::behind_path(input)
                .unwrap()
                .of_mail(false, Offered::default());
            assert_eq!(after_helo, Err(ParameterError::Unknown));
        }
        assert_eq!(Parameters::behind_path("SIZE=1"), None);
    }

    /// RFC 3461 sections 4.3 and 4.4, RFC 4954 section 5.
    #[test]
    fn parameters_of_mail_that_need_no_offer() {
        for (input, ret, envid) in [
            (" RET=FULL", Some(Ret::Full), None),
            (" ret=hdrs envid=QQ+3D4", Some(Ret::Headers), Some("QQ=4")),
            (" AUTH=<>", None, None),
            (
                " AUTH=e+3Dmc2@example.com RET=HDRS",
                Some(Ret::Headers),
                None,
            ),
        ] {
            let expected = MailParameters {
                ret,
                envid: envid.map(Into::into),
                ..MailParameters::default()
            };
            assert_eq!(of_mail(input), Ok(expected), "{input:?}");
        }
        for input in [
            " RET",
            " RET=BODY",
            " RET=FULL RET=FULL",
            " ENVID=",
            " ENVID=a+b",
            " ENVID=a ENVID=a",
            " AUTH",
            " AUTH=a=b",
            " AUTH=<> AUTH=<>",
        ] {
            assert_eq!(of_mail(input), Err(ParameterError::Bad), "{input:?}");
        }
    }

    /// RFC 8689 section 4, RFC 6710 section 3.
    #[test]
    fn parameters_that_are_offered() {
        let offered = Offered {
            binary_mime: true,
            requiretls: true,
            mt_priority: true,
        };
        let of_mail = |input, extended, offered| {
            let parameters = Parameters::behind_path(input).unwrap();
            parameters.of_mail(extended, offered)
        };
        // RFC 3030 section 3.
        let binary = of_mail(" BODY=binarymime", true, offered).map(|it| it.body);
        assert_eq!(binary, Ok(BodyType::BinaryMime));
        let binary = of_mail(" BODY=BINARYMIME", true, Offered::default());
        assert_eq!(binary, Err(ParameterError::Unknown));
        for (input, requiretls, mt_priority) in [
            (" REQUIRETLS", true, None),
            (" mt-priority=-9 requiretls", true, Some(-9)),
            (" MT-PRIORITY=0", false, Some(0)),
            (" MT-PRIORITY=9", false, Some(9)),
        ] {
            let expected = MailParameters {
                requiretls,
                mt_priority,
                ..MailParameters::default()
            };
            assert_eq!(of_mail(input, true, offered), Ok(expected), "{input:?}");
            for unknown in [
                of_mail(input, true, Offered::default()),
                of_mail(input, false, offered),
            ] {
                assert_eq!(unknown, Err(ParameterError::Unknown), "{input:?}");
            }
        }
        for input in [
            " REQUIRETLS=1",
            " REQUIRETLS REQUIRETLS",
            " MT-PRIORITY",
            " MT-PRIORITY=10",
            " MT-PRIORITY=-0",
            " MT-PRIORITY=+1",
            " MT-PRIORITY=-",
            " MT-PRIORITY=1 MT-PRIORITY=1",
        ] {
            let result = of_mail(input, true, offered);
            assert_eq!(result, Err(ParameterError::Bad), "{input:?}");
        }
    }

    #[test]
    fn parameters_of_rcpt() {
        let of_rcpt = |input, extended, smtputf8| {
            let parameters = Parameters::behind_path(input).unwrap();
            parameters.of_rcpt(extended, smtputf8, false)
        };
        let bob = " notify=failure,delay\tORCPT=rfc822;bob+2Bnews@example.com";
        for (input, notify, orcpt) in [
            ("", None, None),
            (" ", None, None),
            (" NOTIFY=NEVER", Some("NEVER"), None),
            (bob, Some("FAILURE,DELAY"), Some("bob+news@example.com")),
        ] {
            let parameters = of_rcpt(input, true, false).expect(input);
            let found = parameters.notify.map(|notify| notify.to_string());
            assert_eq!(found.as_deref(), notify, "{input:?}");
            let found = parameters.orcpt.as_ref().map(OriginalRecipient::address);
            assert_eq!(found, orcpt, "{input:?}");
        }
        for input in [
            " =",
            " NOTIFY",
            " NOTIFY=",
            " NOTIFY=NEVER,DELAY",
            " NOTIFY=NEVER NOTIFY=NEVER",
            " NOTIFY=SUCCESS NOTIFY=SUCCESS",
            " ORCPT=bob@example.com",
            " ORCPT=utf-8;j\u{f6}rg@example.com",
            " ORCPT=rfc822;a ORCPT=rfc822;a",
        ] {
            let result = of_rcpt(input, true, false);
            assert_eq!(result, Err(ParameterError::Bad), "{input:?}");
        }
        for input in [
            " X",
            " RET=FULL",
            " NOTIFY=SUCCESS",
            " NOTIFY=DELAY,success",
        ] {
            let result = of_rcpt(input, true, false);
            assert_eq!(result, Err(ParameterError::Unknown), "{input:?}");
        }
        assert!(of_rcpt(" ORCPT=utf-8;\u{e4}@x", true, true).is_ok());
        let after_helo = of_rcpt(" NOTIFY=NEVER", false, false);
        assert_eq!(after_helo, Err(ParameterError::Unknown));
    }

    /// RFC 3461 section 4.1.
    #[test]
    fn success_may_be_asked_for_where_dsn_is_offered() {
        let parameters = Parameters::behind_path(" NOTIFY=SUCCESS").unwrap();
        let offered = parameters.of_rcpt(true, false, true).unwrap();
        assert!(offered.notify.is_some_and(Notify::success));
    }
}
