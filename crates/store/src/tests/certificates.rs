//! Certificates: kept whole, one sensor's each, and made of what an older layout held.

use std::time::Duration;

use watchpost_core::identity::{Pin, Pins, Role};

use super::*;

fn pin(number: u8) -> Pin {
    Pin::from([number; 32])
}

#[tokio::test]
async fn certificates_read_back_and_replace_those_before() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let row = sensor(&house, 1);
    tx.insert_sensor(&row).await.unwrap();
    let mut pins = Pins::enrolled(pin(1), T0);
    tx.save_certificates(row.sensor.id, &pins).await.unwrap();
    pins.propose(pin(1), pin(2), T0).unwrap();
    pins.confirm(pin(2), T0 + Duration::from_secs(1));
    pins.propose(pin(2), pin(3), T0 + Duration::from_secs(2)).unwrap();
    tx.save_certificates(row.sensor.id, &pins).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = house.store.read(house.workspace).await.unwrap();
    assert_eq!(tx.certificates().await.unwrap(), [(row.sensor.id, pins)].into());
}

#[tokio::test]
async fn a_certificate_belongs_to_one_sensor() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    for number in [1, 2] {
        let row = sensor(&house, number);
        tx.insert_sensor(&row).await.unwrap();
        tx.save_certificates(row.sensor.id, &Pins::enrolled(pin(number), T0)).await.unwrap();
    }
    let mut pins = Pins::enrolled(pin(1), T0);
    pins.propose(pin(1), pin(2), T0).unwrap();
    let taken = tx.save_certificates(sensor(&house, 1).sensor.id, &pins).await.unwrap_err();
    assert!(matches!(taken, StoreError::Taken(_)), "{taken}");
}

#[tokio::test]
async fn a_sensor_of_the_layout_before_has_the_certificate_it_enrolled_with() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let row = sensor(&house, 1);
    tx.insert_sensor(&row).await.unwrap();
    let migration = include_str!("../../migrations/0005_certificates.sql");
    let (_, filling) = migration.split_once("INSERT INTO").unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("INSERT INTO{filling}"))).execute(tx.statement()).await.unwrap();
    let pins = tx.certificates().await.unwrap();
    assert_eq!(pins[&row.sensor.id], Pins::enrolled(pin(1), T0));
    assert_eq!(pins[&row.sensor.id].role(pin(1)), Some(Role::Active));
}

#[tokio::test]
async fn two_active_certificates_of_a_sensor_are_named_and_not_believed() {
    let house = house().await;
    let mut tx = house.store.begin(house.workspace).await.unwrap();
    let row = sensor(&house, 1);
    tx.insert_sensor(&row).await.unwrap();
    let mut pins = Pins::enrolled(pin(1), T0);
    pins.propose(pin(1), pin(2), T0).unwrap();
    tx.save_certificates(row.sensor.id, &pins).await.unwrap();
    sqlx::query("UPDATE certificates SET role = 'active'").execute(tx.statement()).await.unwrap();
    let error = tx.certificates().await.unwrap_err();
    assert!(matches!(&error, StoreError::BadRow { table: "certificates", id, .. } if *id == row.sensor.id.to_string()));
}
