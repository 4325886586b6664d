//! Plays the client that the script wants: reads to the end, or leaves where it is told to.
//!
//! What it was sent is checked to the byte where the call went well.

use std::net::SocketAddr;

use super::script::{Dialect, Ending, NUMBER, Plan, World};
use super::upstream::{mark, whole_said};
use crate::support::client::post;
use crate::support::{Answer, Ended, RawClient, shown};

/// A client with one connection for as long as it lasts.
pub(super) struct Client {
    address: SocketAddr,
    connection: Option<RawClient>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Client {
        Client { address, connection: None }
    }

    async fn connection(&mut self) -> RawClient {
        match self.connection.take() {
            Some(connection) => connection,
            None => RawClient::connect(self.address).await,
        }
    }

    pub(super) async fn call(&mut self, world: &World, plan: &Plan) {
        let mut connection = self.connection().await;
        let number = plan.number.to_string();
        let body = plan.body(world);
        let mut headers = vec![(NUMBER, &*number)];
        if plan.ending == Ending::HangUpSending {
            // Answered when someone wants the body: the call has begun.
            headers.push(("expect", "100-continue"));
            let request = post(plan.path(), &headers, body.as_bytes());
            let head = request.len() - body.len();
            connection.write(&request[..head]).await;
            assert_eq!(connection.head().await.status(), 100, "{plan:?}");
            connection.write(&request[head..head + body.len() / 2]).await;
            return connection.reset();
        }
        let came = (plan.ending == Ending::HangUpUnseen).then(|| world.expect(plan.number));
        connection.write(&post(plan.path(), &headers, body.as_bytes())).await;
        if let Some(came) = came {
            came.await.unwrap();
        }
        match plan.ending {
            Ending::HangUpUnseen => {
                // To anywhere before the answer would be whole.
                let all = plan.output(world);
                let stay =
                    std::time::Duration::from_millis(1 + all * plan.stop as u64 / (plan.says(world).len() as u64 + 1));
                tokio::time::sleep(stay).await;
                connection.reset();
            }
            Ending::HangUp if !plan.stream => {
                assert_eq!(connection.head().await.status(), 200, "{plan:?}");
                connection.until(b"{").await;
                connection.reset();
            }
            Ending::HangUp => {
                assert_eq!(connection.head().await.status(), 200, "{plan:?}");
                connection.data_until(mark(plan.stop).as_bytes()).await;
                leave(connection, plan);
            }
            Ending::HangUpAfterUsage => {
                assert_eq!(connection.head().await.status(), 200, "{plan:?}");
                connection.data_until(b"total_tokens").await;
                leave(connection, plan);
            }
            _ => {
                let answer = connection.answer().await;
                check(world, plan, &answer);
                let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
                self.connection = (answer.ended == Ended::Whole && !closes).then_some(connection);
            }
        }
    }
}

/// In order, or by a reset.
fn leave(connection: RawClient, plan: &Plan) {
    if plan.number.is_multiple_of(2) { connection.close() } else { connection.reset() }
}

fn check(world: &World, plan: &Plan, answer: &Answer) {
    let whole = answer.ended == Ended::Whole;
    let what = || format!("{plan:?}: {}", shown(&answer.body));
    if let Some(status) = plan.status() {
        assert_eq!(u64::from(answer.status()), status, "{}", what());
    }
    match plan.ending {
        Ending::Whole | Ending::NoUsage => {
            assert!(whole, "{}", what());
            assert_eq!(shown(&answer.body), shown(&whole_said(world, plan)), "{plan:?}");
        }
        Ending::Status(_) | Ending::NoModel | Ending::Silence => assert!(whole, "{}", what()),
        Ending::ErrorEvent => assert!(answer.body.windows(9).any(|window| window == b"It broke."), "{}", what()),
        // Never a clean end: the connection breaks, or the stream tells of an error.
        _ => {
            let told = answer.body.windows(7).any(|window| window == b"\"error\"") || is_told(plan, answer);
            assert!(!whole || told, "{}", what());
            assert!(!answer.body.ends_with(b"data: [DONE]\n\n"), "{}", what());
        }
    }
}

fn is_told(plan: &Plan, answer: &Answer) -> bool {
    let failed: &[u8] = b"response.failed";
    plan.dialect == Dialect::Responses && answer.body.windows(failed.len()).any(|window| window == failed)
}
